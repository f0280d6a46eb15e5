"""What of a profile is compared when two may be one person; pure.

Everything is folded first: alphabets, accents, case. Names are kept as words, with the
particles and titles set aside; an address in its canonical form; a phone as its last nine
digits, which a national and an international form share. What is missing is an empty tuple,
and says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs
from rapidfuzz.distance import OSA

from crmkit.customers import contacts
from crmkit.customers.folding import folded, parts
from crmkit.model import Customer

Words: TypeAlias = tuple[str, ...]
Name: TypeAlias = tuple[Words, Words]
"""The words of the given names, and of the surname; either may be empty."""

DETAILS: Final = (
    "gender postal_code address country language occupation anniversary".split()
)  # fmt: skip
"""Fields of `Customer` that are compared as they are, beside names, contacts and birth."""

_PARTICLES: Final = frozenset(
    "al ap bin d da dal dalla das de degli dei del della delle dello den der des di do dos du "
    "el la las le les lo los of san st ten ter the van vom von zu zum zur".split()
)
_TITLES: Final = frozenset(
    "mr mrs ms miss mister sir madam dr doctor prof ing avv dott dottssa sig sigra sra herr frau "
    "mme mlle monsieur madame domnul doamna dl dna gospodin gospodja".split()
)
_WORDS_MAX: Final = 6
_LETTERS_MAX: Final = 40
_PHONE_DIGITS: Final = 9
_PHONE_DIGITS_MIN: Final = 7
_VALUES_MAX: Final = 12
_LOCAL_NAME_MIN: Final = 4

_EPOCHS: Final = frozenset({date(1900, 1, 1), date(1970, 1, 1), date(2000, 1, 1)})
"""Days that forms and systems fill in by themselves."""

# The large providers of mailboxes, for slips such as gmial.com.
_DOMAINS: Final = tuple(
    "gmail.com googlemail.com yahoo.com yahoo.it yahoo.ro yahoo.co.uk yahoo.fr yahoo.es yahoo.de "
    "ymail.com hotmail.com hotmail.it hotmail.co.uk hotmail.fr hotmail.es hotmail.de outlook.com "
    "outlook.it outlook.fr outlook.de outlook.es live.com live.it live.co.uk live.fr icloud.com "
    "msn.com aol.com protonmail.com libero.it virgilio.it tiscali.it alice.it fastwebnet.it "
    "gmx.de gmx.net gmx.com web.de t-online.de freenet.de orange.fr laposte.net wanadoo.fr "
    "btinternet.com ntlworld.com telefonica.net terra.es rambler.ru yandex.ru interia.pl "
    "mail.com email.com".split()
)
_KNOWN_DOMAINS: Final = frozenset(_DOMAINS)
_YEAR: Final = re.compile(r"(?<!\d)(\d{2}|\d{4})$", re.ASCII)
_YEARS: Final = range(1920, 2030)
_NOT_LETTERS: Final = re.compile("[^a-z]+")
_NOT_PLAIN: Final = re.compile("[^a-z0-9]+")


@attrs.frozen(repr=False)
class Traits:
    """A profile as it is compared: what is known of a person, each value as often as it was given.

    `years` are those, without their century, that the person's addresses end in: people like
    to put the year of their birth there. `details` are other fields, those of the host
    included, by name. `accounts` are those in the host's app: one person has one.
    """

    names: tuple[Name, ...] = ()
    emails: Words = ()
    phones: Words = ()
    handles: Words = ()
    births: tuple[date, ...] = ()
    cities: Words = ()
    years: Words = ()
    details: Mapping[str, Words] = attrs.field(factory=dict)
    accounts: Words = ()


# --- from a profile ---


def of_customer(customer: Customer) -> Traits:
    """The traits of a stored profile, with what it is also known by."""
    return of_fields({f: getattr(customer, f) for f in FIELDS}, customer.aliases)


FIELDS: Final = (
    "name", "first_name", "last_name", "nickname", "email", "phone", "phone_typed",
    "instagram", "birth_date", "city", *DETAILS, "social_handles", "custom", "user_id",
)  # fmt: skip
"""The fields of `Customer` that traits are made of, beside the aliases."""
COMPARED: Final = frozenset((*FIELDS, "aliases"))
"""The same with them: what changes of these changes the traits."""


def of_fields(
    fields: Mapping[str, Any], aliases: Mapping[str, Iterable[str]] | None = None
) -> Traits:
    """The traits of a profile's fields by name; those that are missing say nothing."""
    get, also = fields.get, aliases or {}
    emails = _found(map(mailbox, (get("email"), *also.get("email", ()))))
    handles = _found((get("instagram"), *also.get("instagram", ())))
    phones = _found(map(dialled, (get("phone") or get("phone_typed"), *also.get("phone", ()))))
    names = _names(fields, also.get("name", ()), emails, handles)
    born = (get("birth_date"), *map(date.fromisoformat, also.get("birth_date", ())))
    return Traits(
        names=names,
        emails=emails,
        phones=phones,
        handles=handles,
        births=tuple(b for b in born if b is not None and b not in _EPOCHS),
        cities=_found(map(place, (get("city"), *also.get("city", ())))),
        years=_found(map(_year, (*(e.partition("@")[0] for e in emails), *handles))),
        details=dict(_details(fields)),
        accounts=_found((get("user_id"), *also.get("user_id", ()))),
    )


def united(a: Traits, b: Traits) -> Traits:
    """What is known if both are one person."""
    return Traits(
        names=_together(a.names, b.names),
        emails=_together(a.emails, b.emails),
        phones=_together(a.phones, b.phones),
        handles=_together(a.handles, b.handles),
        births=_together(a.births, b.births),
        cities=_together(a.cities, b.cities),
        years=_together(a.years, b.years),
        details=_mapped(a.details, b.details),
        accounts=_together(a.accounts, b.accounts),
    )


def _together(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    both = a + b
    return both if len(both) <= _VALUES_MAX else tuple(dict.fromkeys(both))[:_VALUES_MAX]


def _mapped(a: Mapping[str, Words], b: Mapping[str, Words]) -> Mapping[str, Words]:
    if not a or not b:
        return a or b
    return {k: _together(a.get(k, ()), b.get(k, ())) for k in (*a, *(k for k in b if k not in a))}


def _found(values: Iterable[str | None]) -> Words:
    return tuple(v for v in values if v)


# --- names ---


def _names(
    fields: Mapping[str, Any], also: Iterable[str], emails: Words, handles: Words
) -> tuple[Name, ...]:
    first, last = fields.get("first_name"), fields.get("last_name")
    if first or last:
        name = (words(first or ""), words(last or ""))
    else:
        name = whole(fields.get("name") or fields.get("nickname") or "")
    own = (*(e.partition("@")[0] for e in emails), *handles)
    found = (completed(name, own), *map(whole, also))
    return tuple(n for n in found if n[0] or n[1])


def whole(text: str) -> Name:
    """A name that was given in one piece: who knows which word is the surname."""
    found = words(text)
    return (found, ()) if len(found) == 1 else ((), found)


@lru_cache(1 << 16)
def words(text: str) -> Words:
    """The words of a name, folded; titles and particles are left out where others remain."""
    found = [w[:_LETTERS_MAX] for w in parts(folded(text[:300]))]
    named = [w for w in found if w not in _TITLES] or found
    return tuple(([w for w in named if w not in _PARTICLES] or named)[:_WORDS_MAX])


def completed(name: Name, own: Iterable[str]) -> Name:
    """The name, with what its bearer's own addresses tell of it: ``Ana``, ``ana.pop@…``.

    A surname that is missing is taken from beside the given name, and an initial is spelt
    out beside its surname; never more, so that a relative's address renames nobody.
    """
    first, last = name
    if len(first) != 1 or (last and len(first[0]) > 1):
        return name
    for local in own:
        found = [w for w in _NOT_LETTERS.split(folded(local)) if len(w) > 1]
        if not last:
            rest = _beside(first[0], found)
            if rest:
                return first, (rest,)
        elif len(found) == 2:
            for word, other in (found, found[::-1]):
                if word in last and other[0] == first[0]:
                    return (other,), last
    return name


def _beside(word: str, found: list[str]) -> str | None:
    """What stands beside a given name in an address, parted or joined."""
    if len(word) < _LOCAL_NAME_MIN - 1:
        return None
    if len(found) == 2:
        return found[1] if found[0] == word else found[0] if found[1] == word else None
    whole = found[0] if found else ""
    rest = whole.removeprefix(word) if whole.startswith(word) else whole.removesuffix(word)
    return rest if rest != whole and len(rest) >= _LOCAL_NAME_MIN else None


# --- contacts, places and the rest ---


def mailbox(address: str | None) -> str | None:
    """A checked address in the form in which mailboxes are compared."""
    if not address:
        return None
    local, _, domain = contacts.canonical_email(address).rpartition("@")
    # What follows a plus is the owner's own label, at most providers.
    return f"{local.split('+', 1)[0] or local}@{domain}"


def mended(mailbox: str) -> str:
    """The mailbox that was meant, if its domain is a slip for a large provider's."""
    local, _, domain = mailbox.rpartition("@")
    right = _mended(domain)
    if right.partition(".")[0] == domain.partition(".")[0] and len(domain.rpartition(".")[2]) == 2:
        return mailbox  # hotmail.se is no slip for hotmail.es
    return mailbox if right == domain else contacts.canonical_email(f"{local}@{right}")


@lru_cache(1 << 12)
def _mended(domain: str) -> str:
    if domain in _KNOWN_DOMAINS or not 6 <= len(domain) <= 20:
        return domain
    near = (d for d in _DOMAINS if abs(len(d) - len(domain)) <= 1)
    return next((d for d in near if OSA.distance(d, domain, score_cutoff=1) <= 1), domain)


def plain(local: str) -> str:
    """The letters and digits of an address's local part, or of a handle."""
    return _NOT_PLAIN.sub("", folded(local))


def dialled(phone: str | None) -> str | None:
    """The last nine digits of a number; None for too few, or a filler."""
    if not phone:
        return None
    digits = "".join(c for c in phone if c.isdecimal())[-_PHONE_DIGITS:]
    enough = len(digits) >= _PHONE_DIGITS_MIN and len(set(digits)) > 2
    return digits if enough and not contacts.is_filler(digits) else None


def place(city: str | None) -> str | None:
    """A place's name, folded, in one piece."""
    return "".join(parts(folded(city[:100]))) or None if city else None


def _year(local: str) -> str | None:
    found = _YEAR.search(local)
    if found is None or (len(found[1]) == 4 and int(found[1]) not in _YEARS):
        return None
    return found[1][-2:]


def _details(fields: Mapping[str, Any]) -> Iterator[tuple[str, Words]]:
    for name in DETAILS:
        value = text_of(fields.get(name))
        if value:
            yield name, (value,)
    for group in ("social_handles", "custom"):
        for key, given in (fields.get(group) or {}).items():
            value = text_of(given)
            if value:
                yield f"{group}.{key}", (value,)


def text_of(value: object) -> str:
    """A single value as folded text; lists and mappings say nothing here."""
    if isinstance(value, str):
        return " ".join(parts(folded(value[:200])))
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (int, float)) else ""
