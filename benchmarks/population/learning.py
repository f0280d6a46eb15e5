"""Fills the pools from the sample."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import permutations, product
from random import Random
from typing import NamedTuple

from rapidfuzz.distance import OSA

from benchmarks.population.pools import (
    CHILDS_BIRTH_DATE,
    COUNTRY_CODES,
    Agency,
    City,
    Country,
    Filled,
    NumberRange,
    Pools,
    Row,
    Source,
    Weighted,
    letters,
    plain,
)

SAMPLE = 100_000
# Surnames seen at least twice: 1,642 among 14,000 records and 5,408 among 100,000.
SURNAME_GROWTH = 0.6
# Agencies book for more guests where there are more, and there are more of them: half and half.
AGENCY_GROWTH = 0.5
# Rare surnames that no e-mail address of the sample confirms, for each that one does.
UNCONFIRMED = 0.2
# A contact used under this many surnames is an agency's or a placeholder.
STRANGERS = 9
# So many records are of children.
CHILDREN = 0.057

MOBILE = {"IT": "3", "RO": "7", "GB": "7", "RS": "6"}
NATIONAL = {"IT": r"3\d{9}", "RO": r"07\d{8}", "GB": r"07\d{9}", "RS": r"06\d{6,8}"}
COMMAS_BELOW = str.maketrans("şţŞŢ", "șțȘȚ")


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


def learn_given(
    known: Sequence[Known], counts: Counter[str]
) -> tuple[Weighted[str], dict[str, Weighted[str]]]:
    """The given names that e-mail addresses confirm, and what else their bearers are called."""
    forms = careful_forms(k.row.first_name for k in known)
    weights = Counter({name: n for name, n in counts.items() if n > 3 and name in forms})
    called: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seen = {(k.row.email.lower(), letters(k.row.first_name), k.given) for k in known}
    for _, name, given in sorted(seen):
        if given in weights and " " not in forms.get(name, " ") and len(name) > 1 and name != given:
            called[name][given] += 1
    nicknames: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for name, others in called.items():
        for given, n in others.items():
            short = name[0] == given[0] and len(name) < len(given) - 1
            least = 3 if name in weights else 1 if short else 2
            if n >= max(least, 0.2 * others.total()) and OSA.distance(name, given) > 1:
                nicknames[forms[given]][forms[name]] = n
    return (
        Weighted({forms[name]: n for name, n in weights.items()}),
        {given: Weighted(names) for given, names in nicknames.items()},
    )


def learn_surnames(
    rng: Random, known: Sequence[Known], counts: Counter[str], growth: float
) -> Weighted[str]:
    """The surnames that e-mail addresses confirm, and more of their kind."""
    forms = careful_forms(k.row.last_name for k in known)
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
    givens, surnames = confirmed(known)
    given, nicknames = learn_given(known, givens)
    domains = Counter(k.row.email.strip().lower().partition("@")[2] for k in known if k.row.email)
    return Country(
        given=given,
        nicknames=nicknames,
        surnames=learn_surnames(rng, known, surnames, growth),
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
            agencies[country].append(Agency(email, phone))
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
            Agency(email, f"+{code}{mobiles.draw(rng).digits(rng)}")
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
