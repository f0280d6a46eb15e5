"""E-mail addresses, phone numbers and Instagram handles: stored, compared, or only kept.

Guests who must fill in a field type placeholders. Those are kept as typed, but as
identifiers they would make one customer of everybody who types them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import attrs

from crmkit.errors import InvalidInput
from crmkit.model.document import text


@attrs.frozen
class Contact:
    """One way to reach a person.

    `stored` is the checked form and `identifier` the form two records are compared by;
    both are None for what was typed but cannot name one person.
    """

    typed: str = attrs.field(repr=False)
    stored: str | None = attrs.field(default=None, repr=False)
    identifier: str | None = attrs.field(default=None, repr=False)


_NOTHING: Final = frozenset(
    "- -- --- . .. ... / ? ?? x xx xxx na n/a n.a. none no nil null nope unknown nu nema nessuno "
    "nessuna niente noemail nomail nophone notgiven not-given #n/a undefined".split()
)

# Local parts, without punctuation, that are nobody's wherever they are.
_NOBODY: Final = frozenset(
    "noemail nomail noreply donotreply dontreply noaddress none nobody notgiven notprovided "
    "nessuna niente fake fakeemail nomailaddress noemailaddress unknown anonymous".split()
)
# Local parts that are nobody's where the domain is a filler too (or a large free one).
_FILLERS: Final = frozenset(
    "asd asdf asdfg email mail myemail myname na name no null qwerty x xx xxx xxxx "
    "youremail yourname".split()
)
_FILLER_DOMAINS: Final = frozenset(
    "asd asdf domain email gmail google googlemail hotmail mail no outlook x xx xxx yahoo "
    "yourcompany yourdomain".split()
)
# Local parts that are nobody's where the domain only says them again, as in test@test.com.
_ECHOES: Final = _FILLERS | frozenset("a aa aaa abc test testing xyz".split())
# Domains that hold nobody, by their first label or their last.
_NOBODYS_DOMAINS: Final = frozenset("noemail nomail none noreply nodomain nowhere".split())
_RESERVED: Final = frozenset("invalid localhost".split())
_PUNCTUATION = re.compile(r"[^\w]+|_+")

_GMAIL: Final = frozenset({"gmail.com", "googlemail.com"})
# Alphabets with letters that look like another's.
_ALIKE: Final = frozenset("LATIN CYRILLIC GREEK ARMENIAN CHEROKEE COPTIC LISU".split())


# Addresses whose normal form is plain to see, and cannot be another's by accident.
_PLAIN = re.compile(
    r"[a-z0-9_%+-]+(?:\.[a-z0-9_%+-]+)*@(?!xn--)[a-z0-9-]+(?:\.(?!xn--)[a-z0-9-]+)+",
    re.IGNORECASE | re.ASCII,
)


def email(value: object, *, field: str = "email", check: bool = True) -> Contact | None:
    """A checked address; no mail server is asked. None when the text is empty.

    Without `check` a plain address is only read: enough to look for it among those that
    are stored, each of which was checked when it came.
    """
    typed = text(value, field=field, limit=320)
    if typed is None:
        return None
    if _is_nothing(typed) or _is_placeholder(typed):
        return Contact(typed)
    if not check and _PLAIN.fullmatch(typed):
        local, _, domain = typed.rpartition("@")
        return Contact(typed, f"{local}@{domain.lower()}", canonical_email(typed))
    # Imported late: `import crmkit` should not pay for it.
    from email_validator import EmailNotValidError, validate_email

    try:
        stored = validate_email(typed, check_deliverability=False, test_environment=True).normalized
    except (EmailNotValidError, UnicodeError):
        raise InvalidInput("expected an address such as ana@mail.com", field=field) from None
    if not stored.isascii() and _looks_alike(stored):
        return Contact(typed)
    return Contact(typed, stored, canonical_email(stored))


def canonical_email(email: str) -> str:
    """The form in which two addresses of one mailbox are equal.

    Case never counts. At Gmail dots and what follows a plus do not count either, and
    googlemail.com is gmail.com; elsewhere they may be other mailboxes.
    """
    local, _, domain = _folded(email).rpartition("@")
    if domain in _GMAIL:
        local, domain = local.split("+", 1)[0].replace(".", "") or local, "gmail.com"
        local = _folded(local)  # an accent may now follow a letter that it joins
    return f"{local}@{domain}"


def _folded(address: str) -> str:
    if address.isascii():
        return address.lower()
    # Folding may take a letter apart; composed, folded and composed it stays the same.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address).casefold())


def _is_nothing(typed: str) -> bool:
    return typed.casefold().replace(" ", "") in _NOTHING


def _is_placeholder(address: str) -> bool:
    local, at, domain = address.casefold().rpartition("@")
    if not at:
        return False
    labels = domain.split(".")
    if labels[0] in _NOBODYS_DOMAINS or labels[-1] in _RESERVED:
        return True
    name = _PUNCTUATION.sub("", local)
    return (
        name in _NOBODY
        or (name in _FILLERS and labels[0] in _FILLER_DOMAINS)
        or (name in _ECHOES and name == labels[0])
    )


def _looks_alike(address: str) -> bool:
    """Whether letters of look-alike alphabets are mixed (the ending, such as .com, aside)."""
    if unicodedata.normalize("NFKC", address) != address:
        return True
    letters = {c for c in address.rpartition(".")[0] if c.isalpha()}
    return len({unicodedata.name(c, "").split(" ", 1)[0] for c in letters} & _ALIKE) > 1


COUNTRIES: Final = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ
    EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW
    GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY
    KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV
    MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY
    QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG
    TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA
    ZM ZW
    """.split()  # ISO 3166-1, and XK, which Kosovo's phones and addresses use
)
_WITHOUT_PHONES: Final = frozenset("AQ BV GS HM PN TF UM".split())


def region(country: object, default: str | None) -> str | None:
    """The country whose national phone format applies: the given one, if it has one."""
    if isinstance(country, str) and len(country) < _PHONE_LENGTH_MAX:
        code = country.strip().upper()
        if code in COUNTRIES and code not in _WITHOUT_PHONES:
            return code
    return default


_PHONE_LENGTH_MAX: Final = 40
_DIGITS_MIN: Final = 7
_DIGITS_MAX: Final = 15
_NO_NUMBER: Final = "expected a phone number such as +40722123456"
_NO_REGION: Final = (
    "a number without a country's + prefix needs a region: give `country`, or set Settings.region"
)
_COUNTING: Final = "01234567890123456789"
_COUNTING_DIGITS_MIN: Final = 6


def phone(value: object, region: str | None, *, field: str = "phone") -> Contact | None:
    """A number in E.164, read as dialled in `region` unless it starts with ``+``.

    A number that its country's plan does not know is kept as typed only. Raises
    `InvalidInput` for what cannot be a number at all: letters, fewer digits than 7 or more
    than the 15 of E.164.
    """
    typed = text(value, field=field, limit=_PHONE_LENGTH_MAX)
    if typed is None:
        return None
    if _is_nothing(typed):
        return Contact(typed)
    if any(c.isalpha() for c in typed):
        raise InvalidInput("expected a phone number, without letters", field=field)
    digits = "".join(c for c in typed if c.isdecimal())
    if is_filler(digits):
        return Contact(typed)
    # Imported late: `import crmkit` should not pay for it.
    import phonenumbers

    try:
        number = phonenumbers.parse(typed, region)
    except phonenumbers.NumberParseException as error:
        no_region = error.error_type == error.INVALID_COUNTRY_CODE
        raise InvalidInput(_NO_REGION if no_region else _NO_NUMBER, field=field) from None
    national = phonenumbers.national_significant_number(number)
    if is_filler(national) or is_filler(national.lstrip("0")):
        return Contact(typed)
    if phonenumbers.is_valid_number(number):
        stored = f"+{number.country_code}{national}"
        return Contact(typed, stored, stored)
    # Often a number from abroad without its prefix: of use to staff, but it names nobody.
    if not _DIGITS_MIN <= len(digits) <= _DIGITS_MAX:
        raise InvalidInput("not a phone number: too short or too long", field=field)
    return Contact(typed)


def is_filler(digits: str) -> bool:
    """One digit over and over, or digits as one counts."""
    if not digits:
        return False
    if len(set(digits)) == 1:
        return True
    counted = len(digits) >= _COUNTING_DIGITS_MIN
    return counted and (digits in _COUNTING or digits in _COUNTING[::-1])


_INSTAGRAM = re.compile(
    r"(?:https?://)?(?:(?:www|m)\.)?(?:instagram\.com|instagr\.am)/@?([a-z0-9._]{1,30})/?(?:[?#].*)?"
    r"|@?([a-z0-9._]{1,30})",
    re.IGNORECASE | re.ASCII,
)
_NO_HANDLES: Final = frozenset(
    "accounts direct explore p reel reels stories tv "
    "instagr.am instagram.com www.instagram.com".split()
)


def instagram(value: object, *, field: str = "instagram") -> Contact | None:
    """A handle in lower case, from ``@x``, ``x`` or the profile's address."""
    typed = text(value, field=field, limit=300)
    if typed is None:
        return None
    if _is_nothing(typed.removeprefix("@")):
        return Contact(typed)
    found = _INSTAGRAM.fullmatch(typed)
    handle = (found[1] or found[2]).lower() if found else ""
    if not handle.strip(".") or handle in _NO_HANDLES:
        raise InvalidInput(
            "expected a handle such as @ana.pop, or the profile's address", field=field
        )
    return Contact(typed, handle, handle)
