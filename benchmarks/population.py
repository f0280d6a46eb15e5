"""Customer records with duplicates, and the truth about them, at any size.

The sample of 100,000 records is read for what is peculiar to it: names, nicknames, cities, domains,
number ranges, placeholders, and which fields each source leaves empty. People are made from these
pools, and each is written down several times over, as guests and staff do, with the kinds and rates
of mistakes that the sample shows. Beyond the sample's size the choice of surnames grows as well.

    python -m benchmarks.population PEOPLE_100K.csv.gz N OUT.csv.gz TRUTH.csv.gz [--seed 1]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import unicodedata
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from gzip import GzipFile
from io import TextIOWrapper
from itertools import accumulate, permutations, product, takewhile
from pathlib import Path
from random import Random
from typing import BinaryIO, Generic, NamedTuple, TextIO, TypeVar

T = TypeVar("T")


class Household(NamedTuple):
    """Who lives together, what two adults may have alike, and how often two have one phone."""

    adults: int
    children: int
    alike: str = ""
    one_phone: float = 0.08


SAMPLE = 100_000
# Surnames seen at least twice: 1,642 among 14,000 records and 5,408 among 100,000.
SURNAME_GROWTH = 0.6
# Agencies book for more guests where there are more, and there are more of them: half and half.
AGENCY_GROWTH = 0.5
# Rare surnames that no e-mail address of the sample confirms, for each that one does.
UNCONFIRMED = 0.2
# A contact used under this many surnames is an agency's or a placeholder.
STRANGERS = 9

START = datetime(2022, 1, 1, tzinfo=UTC)
SECONDS = 3 * 365 * 86_400
COUNTRY_CODES = {"IT": "39", "RO": "40", "GB": "44", "RS": "381"}
MOBILE = {"IT": "3", "RO": "7", "GB": "7", "RS": "6"}
NATIONAL = {"IT": r"3\d{9}", "RO": r"07\d{8}", "GB": r"07\d{9}", "RS": r"06\d{6,8}"}

# How the sample's people live, and how often each is written down.
RECORDS = {1: 578, 2: 201, 3: 91, 4: 49, 5: 30, 6: 19.5, 7: 10.2, 8: 10.2, 9: 5.4, 10: 4.1}
HOUSEHOLD = 0.1004
HOUSEHOLDS = {
    Household(2, 0): 1170,
    Household(1, 1): 790,
    Household(2, 1): 724,
    Household(1, 2): 360,
    Household(2, 2): 342,
    Household(2, 0, "birthday", one_phone=0): 634,
    Household(2, 0, "name", one_phone=0.28): 470,
}
ONE_SURNAME = 0.45
CHILDREN_BORN = range(2008, 2021)

# What is true of a person throughout.
ACCENTS = 0.48
SECOND_EMAIL = 0.18
SECOND_PHONE = 0.11
LANDLINE = 0.25
FIRM = 0.25
RENAMED = 0.028
DOUBLE_NAME = 0.0175

# What happens to one record.
AT_HOME = 0.928
SECOND_USED = 0.27
KINS_EMAIL = 0.1
KINS_PHONE = 0.175
AGENCYS = 0.0027
AGENCYS_PHONE = 0.7
NO_EMAIL = 0.0025
NO_PHONE = 0.0021
INITIAL, MIDDLE_NAME, OTHERS_NAME = 0.0145, 0.0125, 0.002
NICKNAME, NICKNAME_TO_FACE = 0.096, 0.14  # of those who have one; told, or written by themselves
FORMER_SURNAME, HALF_SURNAME, OTHER_SPACING = 0.42, 0.45, 0.35
MISTYPED_GIVEN, MISTYPED_SURNAME, HEARD, READ = 0.028, 0.039, 1.7, 0.85
IN_CYRILLIC, IN_CEDILLAS, KEEPS_ACCENTS, ADDS_ACCENTS = 0.031, 0.3, 0.82, 0.07
SWAPPED, SWAPPED_BY_IMPORT, ONE_FIELD, SURNAME_FIRST = 0.021, 0.05, 0.053, 0.3
MISTYPED_EMAIL, MISTYPED_DOMAIN, SPACE_AFTER_EMAIL = 0.0195, 0.0155, 0.019
GOOGLEMAIL, OTHER_DOTS, TAGGED = 0.0105, 0.077, 0.0325
MOVED, OTHER_SPELLING, MISTYPED_CITY, MISTYPED_HANDLE = 0.03, 0.22, 0.027, 0.0255
# Children's birth dates are given where nobody asks; and so many records are of children.
CHILDS_BIRTH_DATE, CHILDREN = 0.45, 0.057
PHONE_SLIPS = {"": 0.977, "changed": 0.0135, "swapped": 0.006, "lost": 0.0035}
BIRTH_SLIPS = {"": 0.9325, "day": 0.017, "1 January": 0.011, "year": 0.026, "swapped": 0.0135}
NAME_CASES = {"": 0.869, "upper": 0.052, "lower": 0.079}
IMPORT_CASES = {"": 0.708, "upper": 0.292}
EMAIL_CASES = {"": 0.957, "upper": 0.0235, "capital": 0.0195}
CITY_CASES = {"": 0.9, "upper": 0.039, "lower": 0.061}
HANDLE_CASES = {"": 0.948, "upper": 0.052}
HANDLE_FORMS = {"{}": 35, "@{}": 55, "https://instagram.com/{}": 10}
NAME_SPACES = {"{}": 98, " {}": 1, "{}  ": 1}

LOCAL_PARTS = {
    "f.l": 30, "fl": 12, "f_ly": 7, "f.ly": 1, "l.f": 5.5, "il": 3.7, "i.l": 3.6, "fy": 3,
    "fY": 2.5, "f3": 2.3, "fL4": 6.2, "w.w4": 5, "w_w4": 5, "ww4": 5, "fly": 0.5, "lf": 0.3,
}  # fmt: skip
HANDLES = ("f.l", "f_l", "fl2", "w_f2", "_f4", "fT_3")
PHONES_AT_HOME = {
    "+{c}{n}": 34.3, "{t}": 19.9, "{t_3_3}": 10, "+{c} {n_3_3}": 9.9, "00{c}{n}": 7.8,
    "{t_4}-{t4_}": 5.9, "(+{c}) {zero}{n}": 4.1, "{t_4}/{t4_7}.{t7_}": 4, "{c}{n}": 4,
}  # fmt: skip
PHONES_ABROAD = {
    "+{c}{n}": 29.1, "+{c} {n}": 28.6, "00{c} {n}": 14.5, "00{c}{n}": 14.1, "{t}": 13.7,
}  # fmt: skip
TAGS = "spam tickets 1 events booking club".split()
FIRMS = "srl group studio tech law".split()
FIRMS_DOMAINS = "com it ro rs co.uk".split()
KEYBOARD = "qwertyuiop asdfghjkl zxcvbnm"
CYRILLIC = {
    pair[:-2]: chr(int(f"4{pair[-2:]}", 16))
    for pair in (
        "a30 b31 v32 g33 d34 đ52 e35 ž36 z37 i38 j58 k3a l3b lj59 m3c n3d nj5a o3e p3f r40 s41 t42"
        " ć5b u43 f44 h45 c46 č47 dž5f š48"
    ).split()
}
CEDILLAS = str.maketrans("șțȘȚ", "şţŞŢ")
COMMAS_BELOW = str.maketrans("şţŞŢ", "șțȘȚ")


class Row(NamedTuple):
    """A customer record, as in the sample."""

    record_id: str
    created_at: str
    source: str
    venue_country: str
    first_name: str
    last_name: str
    email: str
    phone: str
    birth_date: str
    city: str
    instagram: str


class Weighted(Generic[T]):
    """Values to draw from, some more often than others."""

    def __init__(self, weights: Mapping[T, float]) -> None:
        self.values = list(weights)
        self._sums = list(accumulate(weights.values()))

    def draw(self, rng: Random) -> T:
        """One of the values."""
        return self.values[bisect(self._sums, rng.random() * self._sums[-1])]


@lru_cache(maxsize=200_000)
def plain(text: str) -> str:
    """The text without its accents."""
    text = text.replace("đ", "dj").replace("Đ", "Dj")
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@lru_cache(maxsize=200_000)
def letters(text: str) -> str:
    """What an e-mail address keeps of a name."""
    return re.sub("[^a-z]", "", plain(text).lower())


# --- What the sample holds ---


class City(NamedTuple):
    """A city as its own people spell it, and the other ways."""

    name: str
    others: Sequence[str]


class Agency(NamedTuple):
    """A desk whose contacts stand on the records of its guests."""

    country: str
    email: str
    phone: str


class NumberRange(NamedTuple):
    """How national numbers begin, and how long they are."""

    start: str
    length: int


class Filled(NamedTuple):
    """Which fields of a record are filled in."""

    email: bool
    phone: bool
    birth_date: bool
    city: bool


@dataclass(frozen=True, slots=True)
class Country:
    """Where a person's name and contacts come from."""

    given: Weighted[str]
    nicknames: Mapping[str, Weighted[str]]
    surnames: Weighted[str]
    cities: Weighted[City]
    domains: Weighted[str]
    mobiles: Weighted[NumberRange]
    landlines: Weighted[NumberRange]


@dataclass(frozen=True, slots=True)
class Source:
    """Which fields a source of records fills in."""

    handle: float
    no_first_name: float
    no_last_name: float
    birth_date_asked: float  # of those that are filled in, children's apart
    filled: Mapping[bool, Weighted[Filled]]  # with the handle, and without


@dataclass(frozen=True, slots=True)
class Pools:
    """All that is taken from the sample."""

    homes: Weighted[str]
    countries: Mapping[str, Country]
    channels: Weighted[str]
    sources: Mapping[str, Source]
    has_handle: float
    words: Sequence[str]
    slips: Mapping[str, Weighted[str]]
    agencies: Mapping[str, Sequence[Agency]]
    no_emails: Sequence[str]
    no_phones: Sequence[str]


class Known(NamedTuple):
    """A record whose country its phone tells, and the names that its e-mail address confirms."""

    row: Row
    home: str
    given: str
    surname: str


def national(phone: str) -> tuple[str, str]:
    """The country and the national digits of a number in international form."""
    digits = re.sub(r"\D", "", phone.replace("(0)", ""))
    if phone.startswith(("+", "(+", "00")):
        for country, code in COUNTRY_CODES.items():
            if digits.removeprefix("00").startswith(code):
                return country, digits.removeprefix("00").removeprefix(code)
    return "", ""


def home_of(phone: str) -> str:
    """The country of a number, or an empty text."""
    digits = re.sub(r"\D", "", phone)
    forms = (home for home, form in NATIONAL.items() if re.fullmatch(form, digits))
    return national(phone)[0] or next(forms, "")


def strange_contacts(rows: Iterable[Row]) -> set[str]:
    """The e-mail addresses and phones that are no one person's."""
    surnames: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        surnames[row.email].add(letters(row.last_name))
        surnames[row.phone].add(letters(row.last_name))
    return {contact for contact, names in surnames.items() if contact and len(names) >= STRANGERS}


def known_rows(rows: Iterable[Row], strange: set[str]) -> Iterator[Known]:
    """The records of which it can be said where their person is at home."""
    for row in rows:
        home = home_of(row.phone)
        if home and row.phone not in strange and row.email not in strange:
            local = letters(row.email.partition("@")[0].partition("+")[0])
            surname = letters(row.last_name)
            if len(surname) > 2 and surname in local:
                yield Known(row, home, local.replace(surname, "", 1), surname)
            else:
                yield Known(row, home, "", "")


def careful_forms(values: Iterable[str]) -> dict[str, str]:
    """By its letters, how each name is written by those who take care."""
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for value in map(str.strip, values):
        if not value.isupper() and not value.islower() and not re.search("[\u0400-\u04ff]", value):
            forms[letters(value)][value.translate(COMMAS_BELOW)] += 1
    best = {}
    for key, counts in forms.items():
        accented = {form: n for form, n in counts.items() if plain(form) != form}
        often = sum(accented.values()) > 0.1 * counts.total()
        best[key], _ = Counter(accented if often else counts).most_common(1)[0]
    return best


def confirmed(known: Iterable[Known]) -> tuple[Counter[str], Counter[str]]:
    """How many e-mail addresses confirm each given name and each surname."""
    seen = {(k.row.email.lower(), k.given, k.surname) for k in known if k.surname}
    given = Counter(name for _, name, _ in sorted(seen) if len(name) > 1)
    surnames = Counter(name for _, _, name in sorted(seen))
    # Swapped fields make names of either kind look like the other.
    return (
        Counter({name: n for name, n in given.items() if n > 0.15 * surnames[name]}),
        Counter({name: n for name, n in surnames.items() if n > 0.15 * given[name]}),
    )


def one_slip(a: str, b: str) -> bool:
    """Whether one letter lost, added, changed or swapped makes the texts equal."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    a, b = a[same:], b[same:]
    return a[1:] in (b, b[1:]) or a == b[1:] or a[1::-1] + a[2:] == b


def learn_given(known: Sequence[Known]) -> tuple[Weighted[str], dict[str, Weighted[str]]]:
    """The given names that e-mail addresses confirm, and what else their bearers are called."""
    forms = careful_forms(k.row.first_name for k in known)
    weights, _ = confirmed(known)
    weights = Counter({name: n for name, n in weights.items() if n > 3 and name in forms})
    called: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seen = {(k.row.email.lower(), letters(k.row.first_name), k.given) for k in known}
    for _, name, given in sorted(seen):
        if given in weights and " " not in forms.get(name, " ") and len(name) > 1 and name != given:
            called[name][given] += 1
    nicknames: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, counts in called.items():
        for given, n in counts.items():
            short = name[0] == given[0] and len(name) < len(given) - 1
            least = 3 if name in weights else 1 if short else 2
            if n >= max(least, 0.2 * counts.total()) and not one_slip(name, given):
                nicknames[forms[given]][forms[name]] = n
    return (
        Weighted({forms[name]: n for name, n in weights.items()}),
        {given: Weighted(names) for given, names in nicknames.items()},
    )


def learn_surnames(rng: Random, known: Sequence[Known], growth: float) -> Weighted[str]:
    """The surnames that e-mail addresses confirm, and more of their kind."""
    forms = careful_forms(k.row.last_name for k in known)
    _, counts = confirmed(known)
    weights = {forms[key]: float(n) for key, n in counts.items() if "-" not in forms.get(key, "-")}
    rare = [name for name, weight in weights.items() if weight <= 8]
    share = sum(weights[name] for name in rare)
    wanted = round(len(rare) * (1 + UNCONFIRMED) * growth)
    rare += more_surnames(rng, rare, set(counts), wanted - len(rare))
    # As many people as before have a rare surname; they have more to choose from.
    return Weighted(weights | dict.fromkeys(rare, share / len(rare)))


def more_surnames(rng: Random, names: Sequence[str], taken: set[str], count: int) -> list[str]:
    """New surnames that begin like one, end like another, and sound like some in between."""
    lengths = range(3, 7)
    endings = Counter(name[-n:] for name in names for n in lengths if len(name) > n + 1)
    stems, ends = [], []
    for name in names:
        worth = {n: endings[name[-n:]] * (n - 2) ** 2 for n in lengths if endings[name[-n:]] > 3}
        if worth:
            cut = max(worth, key=lambda n: worth[n])
            stems.append(name[:-cut])
            ends.append(name[-cut:])
    sounds = {name[i : i + 3] for name in names for i in range(len(name) - 2)}
    made: list[str] = []
    for attempt in range(500 * count):
        stem = rng.choice(stems)
        if attempt > 10 * count:  # few pairs are left: the beginning is of two, then
            stem = stem[: rng.randint(1, 3)] + rng.choice(stems)[rng.randint(1, 3) :]
        name = stem + rng.choice(ends)
        sounding = all(name[i : i + 3] in sounds for i in range(len(name) - 2))
        if sounding and 3 < len(name) < 12 and letters(name) not in taken:
            taken.add(letters(name))
            made.append(name)
            if len(made) == count:
                break
    return made


def learn_cities(known: Sequence[Known]) -> Weighted[City]:
    """The cities of a country; spellings that one e-mail address goes by are of one city."""
    forms = careful_forms(k.row.city for k in known if k.row.city)
    typed = Counter(letters(k.row.city) for k in known if k.row.city)
    least = 0.0015 * typed.total()
    counts = Counter({key: n for key, n in typed.items() if n > least and key in forms})
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for k in known:
        if k.row.email and letters(k.row.city) in counts:
            spellings[k.row.email.lower()].add(letters(k.row.city))
    pairs = Counter(pair for keys in spellings.values() for pair in permutations(sorted(keys), 2))
    cities = {key: [key] for key in counts}
    for other, _ in reversed(counts.most_common()):
        beside = Counter({a: n for (a, b), n in pairs.items() if b == other})
        for name, n in beside.most_common(1):
            if n > 2 and n > 0.4 * beside.total() and counts[name] > counts[other]:
                cities[name] += cities.pop(other)
    weights = {}
    for first, *others in cities.values():
        city = City(forms[first], tuple(forms[key] for key in others))
        weights[city] = sum(counts[key] for key in (first, *others))
    return Weighted(weights)


def learn_numbers(known: Sequence[Known], home: str, mobile: bool) -> Weighted[NumberRange]:
    """How a country's numbers begin."""
    found: Counter[NumberRange] = Counter()
    for k in known:
        country, digits = national(k.row.phone)
        if country == home and digits.startswith(MOBILE[home]) == mobile:
            found[NumberRange(digits[: 3 if mobile else 2], len(digits))] += 1
    least = 0.002 * found.total() if mobile else 1
    return Weighted({numbers: n for numbers, n in found.items() if n > least})


def learn_country(rng: Random, known: Sequence[Known], home: str, growth: float) -> Country:
    """The pools of one country."""
    given, nicknames = learn_given(known)
    domains = Counter(k.row.email.strip().lower().partition("@")[2] for k in known if k.row.email)
    return Country(
        given=given,
        nicknames=nicknames,
        surnames=learn_surnames(rng, known, growth),
        cities=learn_cities(known),
        domains=Weighted({name: n for name, n in domains.items() if n > 0.01 * domains.total()}),
        mobiles=learn_numbers(known, home, mobile=True),
        landlines=learn_numbers(known, home, mobile=False),
    )


def learn_source(rows: Sequence[Row]) -> Source:
    """Which fields are filled in on the records of one source."""
    filled: defaultdict[bool, Counter[Filled]] = defaultdict(Counter)
    for r in rows:
        fields = Filled(bool(r.email), bool(r.phone), bool(r.birth_date), bool(r.city))
        filled[bool(r.instagram)][fields] += 1
    single = [r for r in rows if " " not in r.first_name.strip()]
    born = sum(bool(r.birth_date) for r in rows) / len(rows)
    unasked = CHILDREN * CHILDS_BIRTH_DATE
    return Source(
        handle=filled[True].total() / len(rows),
        no_first_name=sum(not r.first_name for r in rows) / len(rows),
        no_last_name=sum(not r.last_name for r in single) / len(rows),
        birth_date_asked=max(0, born - unasked) / (1 - unasked) / born if born else 0,
        filled={shown: Weighted(counts) for shown, counts in filled.items()},
    )


def learn_words(known: Sequence[Known]) -> list[str]:
    """The words that addresses without a name are put together from."""
    words: Counter[str] = Counter()
    names = {letters(name) for k in known for name in (k.row.first_name, k.row.last_name)}
    for email in sorted({k.row.email.lower() for k in known}):
        match = re.match(r"([a-z]+)[._]([a-z]+)\d{3,4}@", email)
        words.update(match.groups() if match else ())
    return [word for word, n in words.items() if n > 30 and word not in names]


def learn_slips(known: Sequence[Known], domains: set[str]) -> dict[str, Weighted[str]]:
    """How domains are mistyped."""
    slips: defaultdict[str, dict[str, int]] = defaultdict(dict)
    counts = Counter(k.row.email.strip().lower().partition("@")[2] for k in known)
    for typed, n in counts.items():
        if n > 3 and typed not in domains:
            for domain in get_close_matches(typed, sorted(domains), 1, 0.8):
                slips[domain][typed] = n
    return {domain: Weighted(typed) for domain, typed in slips.items()}


def learn_agencies(rows: Iterable[Row], strange: set[str]) -> dict[str, list[Agency]]:
    """The desks: strange addresses that mostly come with one phone."""
    phones: defaultdict[str, Counter[str]] = defaultdict(Counter)
    places: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.email in strange:
            phones[row.email][row.phone] += 1
            places[row.email][row.venue_country] += 1
    agencies: defaultdict[str, list[Agency]] = defaultdict(list)
    for email, counts in phones.items():
        phone, n = counts.most_common(1)[0]
        if phone and n > 0.3 * counts.total():
            country, _ = places[email].most_common(1)[0]
            agencies[country].append(Agency(country, email, phone))
    return dict(agencies)


def more_agencies(
    rng: Random,
    agencies: Mapping[str, Sequence[Agency]],
    countries: Mapping[str, Country],
    by: float,
) -> dict[str, list[Agency]]:
    """More desks: the known names at the known domains."""
    desks = sorted({a.email.partition("@")[0] for found in agencies.values() for a in found})
    grown = {}
    for home, found in agencies.items():
        domains = sorted({a.email.partition("@")[2] for a in found})
        emails = [f"{desk}@{domain}" for desk, domain in product(desks, domains)]
        rng.shuffle(emails)
        new = [email for email in emails if all(email != a.email for a in found)]
        code, mobiles = COUNTRY_CODES[home], countries[home].mobiles
        grown[home] = [*found] + [
            Agency(home, email, f"+{code}{new_digits(rng, mobiles)}")
            for email in new[: round(len(found) * by) - len(found)]
        ]
    return grown


def learn(rng: Random, rows: Sequence[Row], size: int) -> Pools:
    """The pools for so many records."""
    factor = max(1.0, size / SAMPLE)
    strange = strange_contacts(rows)
    known = list(known_rows(rows, strange))
    countries = {
        home: learn_country(rng, [k for k in known if k.home == home], home, factor**SURNAME_GROWTH)
        for home in COUNTRY_CODES
    }
    channels = Counter(row.source for row in rows)
    agencies = learn_agencies(rows, strange)
    theirs = {part for found in agencies.values() for agency in found for part in agency}
    others = sorted(strange - theirs)
    sources = {name: learn_source([r for r in rows if r.source == name]) for name in channels}
    return Pools(
        homes=Weighted(Counter(k.home for k in known)),
        countries=countries,
        channels=Weighted(channels),
        sources=sources,
        # Whoever has a handle gives it where most do.
        has_handle=max(source.handle for source in sources.values()),
        words=learn_words(known),
        slips=learn_slips(known, {d for c in countries.values() for d in c.domains.values}),
        agencies=more_agencies(rng, agencies, countries, factor**AGENCY_GROWTH),
        no_emails=[contact for contact in others if re.search("[a-z]", contact)],
        no_phones=[contact for contact in others if not re.search("[a-z]", contact)],
    )


# --- People ---


class Number(NamedTuple):
    """A phone number."""

    country: str
    digits: str


@dataclass(slots=True)
class Person:
    """Someone, as they are."""

    home: str
    given: str
    surname: str
    born: date
    city: City
    accents: bool
    emails: list[str] = field(default_factory=list)
    phones: list[Number] = field(default_factory=list)
    handle: str = ""
    former_surname: str = ""
    child: bool = False
    kin: list[Person] = field(default_factory=list)


def new_digits(rng: Random, ranges: Weighted[NumberRange]) -> str:
    """A national number."""
    start, length = ranges.draw(rng)
    return start + "".join(rng.choices("0123456789", k=length - len(start)))


class People:
    """Makes people and households, no two of which have a contact in common."""

    def __init__(self, rng: Random, pools: Pools) -> None:
        self._rng, self._pools = rng, pools
        self._styles = Weighted(LOCAL_PARTS)
        self._households = Weighted(HOUSEHOLDS)
        self._emails: set[str] = set()
        self._numbers: set[Number] = set()

    def households(self) -> Iterator[list[Person]]:
        """People who live together, without end; mostly one."""
        while True:
            if self._rng.random() < HOUSEHOLD:
                yield self._household(self._households.draw(self._rng))
            else:
                yield [self.person()]

    def person(
        self,
        like: Person | None = None,
        given: str = "",
        surname: str = "",
        born: date | None = None,
        child: bool = False,
    ) -> Person:
        """Someone new; of the home, city and surname of another, where nothing else is said."""
        rng = self._rng
        home = like.home if like else self._pools.homes.draw(rng)
        country = self._pools.countries[home]
        new = Person(
            home=home,
            given=given or country.given.draw(rng),
            surname=surname or (like.surname if like else self._surname(country)),
            born=born or self.birthday(min(2006, round(rng.gauss(1985.3, 12.8)))),
            city=like.city if like else country.cities.draw(rng),
            accents=rng.random() < ACCENTS,
        )
        if rng.random() < self._pools.has_handle:
            new.handle = self._named(rng.choice(HANDLES), new)
        if not child:
            self._add_contacts(new)
            if rng.random() < RENAMED:
                new.former_surname = country.surnames.draw(rng)
        return new

    def birthday(self, year: int) -> date:
        """Some day of the year."""
        return date(year, 1, 1) + timedelta(self._rng.randrange(365))

    def _surname(self, country: Country) -> str:
        rng = self._rng
        surname = country.surnames.draw(rng)
        return f"{surname}-{country.surnames.draw(rng)}" if rng.random() < DOUBLE_NAME else surname

    def _household(self, kind: Household) -> list[Person]:
        rng = self._rng
        first = self.person()
        adults = [first, *(self._partner(first, kind.alike) for _ in range(1, kind.adults))]
        for adult in adults:
            adult.kin = [other for other in adults if other is not adult]
        if rng.random() < kind.one_phone:
            adults[-1].phones[0] = first.phones[0]
        return adults + [self._child(adults) for _ in range(kind.children)]

    def _partner(self, of: Person, alike: str) -> Person:
        rng = self._rng
        if alike == "birthday":
            return self.person(of, born=of.born)
        if alike == "name":  # parent and child
            year = min(CHILDREN_BORN[0], of.born.year + rng.randint(20, 34))
            return self.person(of, given=of.given, born=self.birthday(year))
        if rng.random() < ONE_SURNAME:
            return self.person(of)
        return self.person(of, surname=self._pools.countries[of.home].surnames.draw(rng))

    def _child(self, parents: Sequence[Person]) -> Person:
        born = self.birthday(self._rng.choice(CHILDREN_BORN))
        child = self.person(parents[0], born=born, child=True)
        parent = self._rng.choice(parents)
        child.child, child.kin = True, list(parents)
        child.emails, child.phones = parent.emails[:1], parent.phones[:1]
        return child

    def _add_contacts(self, person: Person) -> None:
        rng = self._rng
        country = self._pools.countries[person.home]
        person.emails.append(self._new_email(person, country.domains.draw(rng)))
        if rng.random() < SECOND_EMAIL:
            firm = f"{letters(person.surname)}{rng.choice(FIRMS)}.{rng.choice(FIRMS_DOMAINS)}"
            domain = firm if rng.random() < FIRM else country.domains.draw(rng)
            person.emails.append(self._new_email(person, domain))
        person.phones.append(self._new_number(person.home, country.mobiles))
        if rng.random() < SECOND_PHONE:
            ranges = country.landlines if rng.random() < LANDLINE else country.mobiles
            person.phones.append(self._new_number(person.home, ranges))

    def _new_email(self, person: Person, domain: str) -> str:
        local = self._named(self._styles.draw(self._rng), person)
        more = f"{person.born.year % 100:02}"
        while (key := f"{local.replace('.', '')}@{domain}") in self._emails:
            local += more
            more = str(self._rng.randrange(10, 100))
        self._emails.add(key)
        return f"{local}@{domain}"

    def _new_number(self, home: str, ranges: Weighted[NumberRange]) -> Number:
        number = Number(home, new_digits(self._rng, ranges))
        while number in self._numbers:
            number = Number(home, new_digits(self._rng, ranges))
        self._numbers.add(number)
        return number

    def _named(self, style: str, person: Person) -> str:
        """A local part or handle in a style whose signs stand for parts of it."""
        rng = self._rng
        given, surname = letters(person.given), letters(person.surname)
        parts = {
            "f": given, "i": given[0], "l": surname, "L": surname[0], "T": surname[:3],
            "y": f"{person.born.year % 100:02}", "Y": str(person.born.year),
        }  # fmt: skip
        text = ""
        for sign in style:
            if sign == "w":
                text += rng.choice(self._pools.words)
            elif sign.isdigit():
                text += str(rng.randrange(10 ** min(2, int(sign) - 1), 10 ** int(sign)))
            else:
                text += parts.get(sign, sign)
        return text


# --- What is written down ---


class Entry(NamedTuple):
    """A record before it has its place among the others."""

    second: int
    person: int
    household: int
    fields: tuple[str, ...]  # of a Row, from the source on


def mistype(rng: Random, text: str) -> str:
    """The text with one slip of the fingers, past its first sign."""
    if len(text) < 3:
        return text
    at, kind = rng.randrange(1, len(text)), rng.random()
    if kind < 0.32:
        return text[:at] + text[at + 1 :]
    if kind < 0.61 and text[at] in KEYBOARD:
        key = KEYBOARD.index(text[at])
        beside = (KEYBOARD[max(0, key - 1) : key] + KEYBOARD[key + 1 : key + 2]).strip()
        return text[:at] + rng.choice(beside) + text[at + 1 :]
    if kind < 0.81 or at == len(text) - 1:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def cyrillic(text: str) -> str:
    """A Serbian name in its other script."""

    def letter(match: re.Match[str]) -> str:
        sign = CYRILLIC.get(match[0].lower(), match[0])
        return sign.upper() if match[0][0].isupper() else sign

    return re.sub("(?i)lj|nj|dž|.", letter, text)


def in_case(text: str, case: str) -> str:
    """The text in capitals, without any, or as it is."""
    return {"upper": text.upper(), "lower": text.lower()}.get(case, text)


class Clerk:
    """Writes people down, as carefully as the sample's clerks."""

    def __init__(self, rng: Random, pools: Pools) -> None:
        self._rng, self._pools = rng, pools
        self._phones_at_home = Weighted(PHONES_AT_HOME)
        self._phones_abroad = Weighted(PHONES_ABROAD)
        self._phone_slips, self._birth_slips = Weighted(PHONE_SLIPS), Weighted(BIRTH_SLIPS)
        self._name_cases, self._import_cases = Weighted(NAME_CASES), Weighted(IMPORT_CASES)
        self._email_cases, self._city_cases = Weighted(EMAIL_CASES), Weighted(CITY_CASES)
        self._handle_cases, self._handle_forms = Weighted(HANDLE_CASES), Weighted(HANDLE_FORMS)
        self._name_spaces = Weighted(NAME_SPACES)

    def record(self, person: Person) -> tuple[str, ...]:
        """One record of a person: the fields of a row, from the source on."""
        rng = self._rng
        channel = self._pools.channels.draw(rng)
        source = self._pools.sources[channel]
        venue = person.home
        if not self._happens(AT_HOME):
            venue = rng.choice([home for home in COUNTRY_CODES if home != venue])
        shown = bool(person.handle) and self._happens(source.handle / self._pools.has_handle)
        filled = source.filled[shown].draw(rng)
        born = filled.birth_date and self._happens(source.birth_date_asked)
        if person.child and self._happens(CHILDS_BIRTH_DATE):
            born = True
        return (
            channel,
            venue,
            *self._names(person, channel, source),
            *self._contacts(person, venue, filled),
            self._birth_date(person.born) if born else "",
            self._city(person) if filled.city else "",
            self._handle(person.handle) if shown else "",
        )

    def _happens(self, chance: float) -> bool:
        return self._rng.random() < chance

    def _names(self, person: Person, channel: str, source: Source) -> tuple[str, str]:
        rng = self._rng
        imported = channel == "import"
        first, last = self._given(person, channel), self._surname(person)
        care = HEARD if channel == "phone" else READ
        if self._happens(MISTYPED_GIVEN * care):
            first = mistype(rng, first)
        if self._happens(MISTYPED_SURNAME * care):
            last = mistype(rng, last)
        first, last = self._in_script(person, first, last)
        if self._happens(SWAPPED_BY_IMPORT if imported else SWAPPED):
            first, last = last, first
        case = (self._import_cases if imported else self._name_cases).draw(rng)
        first, last = in_case(first, case), in_case(last, case)
        kind = rng.random()
        if kind < source.no_first_name:
            return "", last
        if kind < source.no_first_name + source.no_last_name:
            last = ""
        elif self._happens(ONE_FIELD):
            order = (last, first) if self._happens(SURNAME_FIRST) else (first, last)
            first, last = " ".join(order), ""
        return self._name_spaces.draw(rng).format(first), last

    def _given(self, person: Person, channel: str) -> str:
        rng = self._rng
        names = self._pools.countries[person.home]
        to_face = channel in ("phone", "walkin", "instagram")
        if self._happens(INITIAL):
            return person.given[0] + rng.choice(("", "."))
        if self._happens(MIDDLE_NAME):
            return f"{person.given} {names.given.draw(rng)}"
        if self._happens(OTHERS_NAME):
            return rng.choice(person.kin).given if person.kin else names.given.draw(rng)
        named = self._happens(NICKNAME_TO_FACE if to_face else NICKNAME)
        if named and person.given in names.nicknames:
            return names.nicknames[person.given].draw(rng)
        return person.given

    def _surname(self, person: Person) -> str:
        rng = self._rng
        name = person.surname
        if person.former_surname and self._happens(FORMER_SURNAME):
            return person.former_surname
        if "-" in name and self._happens(HALF_SURNAME):
            return rng.choice(name.split("-"))
        if ("'" in name or " " in name) and self._happens(OTHER_SPACING):
            return name.replace(" ", "").replace("'", rng.choice(("’", " ", "")))
        return name

    def _in_script(self, person: Person, first: str, last: str) -> tuple[str, str]:
        if person.home == "RS" and self._happens(IN_CYRILLIC):
            return cyrillic(first), cyrillic(last)
        if not self._happens(KEEPS_ACCENTS if person.accents else ADDS_ACCENTS):
            return plain(first), plain(last)
        if person.home == "RO" and self._happens(IN_CEDILLAS):
            return first.translate(CEDILLAS), last.translate(CEDILLAS)
        return first, last

    def _contacts(self, person: Person, venue: str, filled: Filled) -> tuple[str, str]:
        rng, pools = self._rng, self._pools
        email = self._email(person) if filled.email else ""
        phone = self._phone(person, venue) if filled.phone else ""
        if phone and self._happens(NO_PHONE):
            phone = rng.choice(pools.no_phones)
        if email and self._happens(NO_EMAIL):
            email = rng.choice(pools.no_emails)
        elif email and venue in pools.agencies and self._happens(AGENCYS):
            agency = rng.choice(pools.agencies[venue])
            return agency.email, agency.phone if self._happens(AGENCYS_PHONE) else phone
        return email, phone

    def _email(self, person: Person) -> str:
        rng, slips = self._rng, self._pools.slips
        emails = person.emails
        if person.kin and self._happens(KINS_EMAIL):
            emails = rng.choice(person.kin).emails
        email = emails[-1] if self._happens(SECOND_USED) else emails[0]
        local, _, domain = email.partition("@")
        if domain == "gmail.com":
            local, domain = self._gmail(local)
        if self._happens(MISTYPED_EMAIL):
            local = mistype(rng, local)
        if domain in slips and self._happens(MISTYPED_DOMAIN):
            domain = slips[domain].draw(rng)
        case = self._email_cases.draw(rng)
        email = in_case(f"{local}@{domain}", case)
        if case == "capital":
            email = email[0].upper() + email[1:]
        return f"{email} " if self._happens(SPACE_AFTER_EMAIL) else email

    def _gmail(self, local: str) -> tuple[str, str]:
        """The same mailbox under one of its other addresses, at times."""
        rng = self._rng
        if self._happens(OTHER_DOTS):
            at = rng.randrange(1, len(local))
            local = local.replace(".", "") if "." in local else f"{local[:at]}.{local[at:]}"
        if self._happens(TAGGED):
            local += f"+{rng.choice(TAGS)}"
        return local, "googlemail.com" if self._happens(GOOGLEMAIL) else "gmail.com"

    def _phone(self, person: Person, venue: str) -> str:
        rng = self._rng
        phones = person.phones
        if person.kin and self._happens(KINS_PHONE):
            phones = rng.choice(person.kin).phones
        home, n = phones[-1] if self._happens(SECOND_USED) else phones[0]
        at, slip = rng.randrange(2, len(n) - 1), self._phone_slips.draw(rng)
        if slip == "changed":
            n = n[:at] + str((int(n[at]) + rng.randint(1, 9)) % 10) + n[at + 1 :]
        elif slip == "swapped":
            n = n[:at] + n[at + 1] + n[at] + n[at + 2 :]
        elif slip == "lost":
            n = n[:-1]
        zero = "" if home == "IT" else "0"
        t = zero + n
        form = (self._phones_at_home if venue == home else self._phones_abroad).draw(rng)
        return form.format(
            c=COUNTRY_CODES[home], n=n, t=t, zero=zero and "(0)",
            n_3_3=f"{n[:3]} {n[3:6]} {n[6:]}", t_3_3=f"{t[:3]} {t[3:6]} {t[6:]}",
            t_4=t[:4], t4_=t[4:], t4_7=t[4:7], t7_=t[7:],
        )  # fmt: skip

    def _birth_date(self, born: date) -> str:
        rng = self._rng
        year, month, day = born.year, born.month, born.day
        slip = self._birth_slips.draw(rng)
        if slip == "day":
            day = rng.randint(1, 28)
        elif slip == "1 January":
            month = day = 1
        elif slip == "year":
            year, day = year + rng.choice((-10, -1, 1, 10)), min(day, 28)
        elif slip == "swapped" and day <= 12:
            month, day = day, month
        return f"{year}-{month:02}-{day:02}"

    def _city(self, person: Person) -> str:
        rng = self._rng
        city = person.city
        if self._happens(MOVED):
            city = self._pools.countries[person.home].cities.draw(rng)
        name = city.name
        if city.others and self._happens(OTHER_SPELLING):
            name = rng.choice(city.others)
        if not person.accents:
            name = plain(name)
        if self._happens(MISTYPED_CITY):
            name = mistype(rng, name)
        return in_case(name, self._city_cases.draw(rng))

    def _handle(self, handle: str) -> str:
        rng = self._rng
        if self._happens(MISTYPED_HANDLE):
            handle = mistype(rng, handle)
        handle = self._handle_forms.draw(rng).format(handle)
        return in_case(handle, self._handle_cases.draw(rng))


def entries(rng: Random, pools: Pools, size: int) -> Iterator[Entry]:
    """So many records, person by person."""
    clerk, counts = Clerk(rng, pools), Weighted(RECORDS)
    written = persons = households = 0
    for members in People(rng, pools).households():
        households += len(members) > 1
        for member in members:
            persons += 1
            for _ in range(min(counts.draw(rng), size - written)):
                household = households if len(members) > 1 else 0
                yield Entry(rng.randrange(SECONDS), persons, household, clerk.record(member))
                written += 1
        if written >= size:
            return


# --- Files ---


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A text file, packed if its name says so; equal contents make equal files."""
    with path.open("wb") as raw, ExitStack() as stack:
        file: BinaryIO | GzipFile = raw
        if path.suffix == ".gz":
            file = stack.enter_context(GzipFile("", "wb", 6, raw, mtime=0))
        yield stack.enter_context(TextIOWrapper(file, encoding="utf-8", newline=""))


def read(path: Path) -> list[Row]:
    """The records of a file."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        assert tuple(next(lines)) == Row._fields
        return [Row(*line) for line in lines]


def write(found: list[Entry], records: TextIO, truth: TextIO) -> None:
    """The records in the order of their making, and whose they are."""
    found.sort(key=lambda entry: (entry.second, entry.person))
    persons: dict[int, str] = {}
    households = {0: ""}
    width = max(7, len(str(len(found) - 1)))
    rows = csv.writer(records, lineterminator="\n")
    owners = csv.writer(truth, lineterminator="\n")
    rows.writerow(Row._fields)
    owners.writerow(("record_id", "cluster_id", "household_id"))
    for n, (second, person, household, fields) in enumerate(found):
        record_id = f"r{n:0{width}}"
        created = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
        rows.writerow((record_id, created, *fields))
        cluster = persons.setdefault(person, f"c{len(persons):0{width}}")
        home = households.setdefault(household, f"h{len(households) - 1:06}")
        owners.writerow((record_id, cluster, home))


def main() -> None:
    """Write a population and the truth about it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample", type=Path, help="people_100k.csv.gz")
    parser.add_argument("size", type=int, help="how many records")
    parser.add_argument("records", type=Path, help="where the records go")
    parser.add_argument("truth", type=Path, help="where the truth goes")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = Random(arguments.seed)
    pools = learn(rng, read(arguments.sample), arguments.size)
    found = list(entries(rng, pools, arguments.size))
    with writing(arguments.records) as records, writing(arguments.truth) as truth:
        write(found, records, truth)


if __name__ == "__main__":
    main()
