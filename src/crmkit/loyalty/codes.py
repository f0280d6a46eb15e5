"""Codes that customers show or type: Crockford's base 32, 20 bits in a group; pure.

The alphabet leaves out the letters that look like others (https://www.crockford.com/base32.html).
"""

from __future__ import annotations

import hashlib
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BYTES: Final = 10
_GROUP: Final = 4
_GROUPS: Final = 4
_DROPPED: Final = str.maketrans("", "", " -–_.\t")
_MEANT: Final = str.maketrans("OILU", "011V")


def code_of(secret: str, groups: int = _GROUPS) -> str:
    """The code that belongs to a keyed hash: groups of four, up to four of them."""
    number = int.from_bytes(hashlib.blake2b(secret.encode(), digest_size=_BYTES).digest())
    digits = [_ALPHABET[number >> 5 * n & 31] for n in reversed(range(_GROUPS * _GROUP))]
    starts = range(0, groups * _GROUP, _GROUP)
    return "-".join("".join(digits[n : n + _GROUP]) for n in starts)


def read_code(typed: object, groups: int = _GROUPS) -> str | None:
    """The digits of a code as somebody typed it; None for what can be no code.

    Case, spaces, dashes, and letters that are taken for others do not matter.
    """
    length = groups * _GROUP
    if not isinstance(typed, str) or len(typed) > 4 * length:
        return None
    digits = typed.translate(_DROPPED)
    if len(digits) != length or not digits.isascii():
        return None
    digits = digits.upper().translate(_MEANT)
    return digits if set(digits) <= set(_ALPHABET) else None
