"""People and households: what is true of them throughout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from benchmarks.population.pools import City, Country, NumberRange, Pools, Weighted, letters


class Household(NamedTuple):
    """Who lives together, what two adults may have alike, and how often two have one phone."""

    adults: int
    children: int
    alike: str = ""
    one_phone: float = 0.08


HOUSEHOLD = 0.1004
HOUSEHOLDS = Weighted(
    {
        Household(2, 0): 1170,
        Household(1, 1): 790,
        Household(2, 1): 724,
        Household(1, 2): 360,
        Household(2, 2): 342,
        Household(2, 0, "birthday", one_phone=0): 634,
        Household(2, 0, "name", one_phone=0.28): 470,
    }
)
ONE_SURNAME = 0.45
CHILDREN_BORN = range(2008, 2021)

ACCENTS = 0.48
SECOND_EMAIL = 0.18
SECOND_PHONE = 0.11
LANDLINE = 0.25
FIRM = 0.25
RENAMED = 0.028
DOUBLE_NAME = 0.0175

LOCAL_PARTS = Weighted({
    "f.l": 30, "fl": 12, "f_ly": 7, "f.ly": 1, "l.f": 5.5, "il": 3.7, "i.l": 3.6, "fy": 3,
    "fY": 2.5, "f3": 2.3, "fL4": 6.2, "w.w4": 5, "w_w4": 5, "ww4": 5, "fly": 0.5, "lf": 0.3,
})  # fmt: skip
HANDLES = ("f.l", "f_l", "fl2", "w_f2", "_f4", "fT_3")
FIRMS = "srl group studio tech law".split()
FIRMS_DOMAINS = "com it ro rs co.uk".split()


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
    child: bool
    emails: list[str] = field(default_factory=list)
    phones: list[Number] = field(default_factory=list)
    handle: str = ""
    former_surname: str = ""
    kin: list[Person] = field(default_factory=list)


class People:
    """Makes people and households, no two of which have a contact in common."""

    def __init__(self, rng: Random, pools: Pools) -> None:
        self._rng, self._pools = rng, pools
        self._emails: set[str] = set()
        self._numbers: set[Number] = set()

    def households(self) -> Iterator[list[Person]]:
        """People who live together, without end; mostly one."""
        while True:
            if self._rng.random() < HOUSEHOLD:
                yield self._household(HOUSEHOLDS.draw(self._rng))
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
            child=child,
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
        child.kin = list(parents)
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
        local = self._named(LOCAL_PARTS.draw(self._rng), person)
        more = f"{person.born.year % 100:02}"
        while (key := f"{local.replace('.', '')}@{domain}") in self._emails:
            local += more
            more = str(self._rng.randrange(10, 100))
        self._emails.add(key)
        return f"{local}@{domain}"

    def _new_number(self, home: str, ranges: Weighted[NumberRange]) -> Number:
        while True:
            number = Number(home, ranges.draw(self._rng).digits(self._rng))
            if number not in self._numbers:
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
