"""What becomes of people when they are written down: the mistakes and habits of clerks."""

from __future__ import annotations

import re
from datetime import date
from random import Random

from benchmarks.population.people import Person
from benchmarks.population.pools import (
    CHILDS_BIRTH_DATE,
    COUNTRY_CODES,
    Filled,
    Pools,
    Source,
    Weighted,
    plain,
)

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
PHONE_SLIPS = Weighted({"": 0.977, "changed": 0.0135, "swapped": 0.006, "lost": 0.0035})
BIRTH_SLIPS = Weighted(
    {"": 0.9325, "day": 0.017, "1 January": 0.011, "year": 0.026, "swapped": 0.0135}
)
NAME_CASES = Weighted({"": 0.869, "upper": 0.052, "lower": 0.079})
IMPORT_CASES = Weighted({"": 0.708, "upper": 0.292})
EMAIL_CASES = Weighted({"": 0.957, "upper": 0.0235, "capital": 0.0195})
CITY_CASES = Weighted({"": 0.9, "upper": 0.039, "lower": 0.061})
HANDLE_CASES = Weighted({"": 0.948, "upper": 0.052})
HANDLE_FORMS = Weighted({"{}": 35, "@{}": 55, "https://instagram.com/{}": 10})
NAME_SPACES = Weighted({"{}": 98, " {}": 1, "{}  ": 1})

PHONES_AT_HOME = Weighted({
    "+{c}{n}": 34.3, "{t}": 19.9, "{t_3_3}": 10, "+{c} {n_3_3}": 9.9, "00{c}{n}": 7.8,
    "{t_4}-{t4_}": 5.9, "(+{c}) {zero}{n}": 4.1, "{t_4}/{t4_7}.{t7_}": 4, "{c}{n}": 4,
})  # fmt: skip
PHONES_ABROAD = Weighted({
    "+{c}{n}": 29.1, "+{c} {n}": 28.6, "00{c} {n}": 14.5, "00{c}{n}": 14.1, "{t}": 13.7,
})  # fmt: skip
TAGS = "spam tickets 1 events booking club".split()
KEYBOARD = "qwertyuiop asdfghjkl zxcvbnm"
CYRILLIC = dict(
    zip(
        "a b v g d đ e ž z i j k l lj m n nj o p r s t ć u f h c č dž š".split(),
        "абвгдђежзијклљмнњопрстћуфхцчџш",
        strict=True,
    )
)
CEDILLAS = str.maketrans("șțȘȚ", "şţŞŢ")


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
        case = (IMPORT_CASES if imported else NAME_CASES).draw(rng)
        first, last = in_case(first, case), in_case(last, case)
        kind = rng.random()
        if kind < source.no_first_name:
            return "", last
        if kind < source.no_first_name + source.no_last_name:
            last = ""
        elif self._happens(ONE_FIELD):
            order = (last, first) if self._happens(SURNAME_FIRST) else (first, last)
            first, last = " ".join(order), ""
        return NAME_SPACES.draw(rng).format(first), last

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
        case = EMAIL_CASES.draw(rng)
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
        at, slip = rng.randrange(2, len(n) - 1), PHONE_SLIPS.draw(rng)
        if slip == "changed":
            n = n[:at] + str((int(n[at]) + rng.randint(1, 9)) % 10) + n[at + 1 :]
        elif slip == "swapped":
            n = n[:at] + n[at + 1] + n[at] + n[at + 2 :]
        elif slip == "lost":
            n = n[:-1]
        zero = "" if home == "IT" else "0"
        t = zero + n
        form = (PHONES_AT_HOME if venue == home else PHONES_ABROAD).draw(rng)
        return form.format(
            c=COUNTRY_CODES[home], n=n, t=t, zero=zero and "(0)",
            n_3_3=f"{n[:3]} {n[3:6]} {n[6:]}", t_3_3=f"{t[:3]} {t[3:6]} {t[6:]}",
            t_4=t[:4], t4_=t[4:], t4_7=t[4:7], t7_=t[7:],
        )  # fmt: skip

    def _birth_date(self, born: date) -> str:
        rng = self._rng
        year, month, day = born.year, born.month, born.day
        slip = BIRTH_SLIPS.draw(rng)
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
        return in_case(name, CITY_CASES.draw(rng))

    def _handle(self, handle: str) -> str:
        rng = self._rng
        if self._happens(MISTYPED_HANDLE):
            handle = mistype(rng, handle)
        handle = HANDLE_FORMS.draw(rng).format(handle)
        return in_case(handle, HANDLE_CASES.draw(rng))
