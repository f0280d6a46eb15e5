"""Codes that customers show or type: 80 bits in Crockford's base 32; pure.

The alphabet leaves out the letters that look like others (https://www.crockford.com/base32.html).
"""

from __future__ import annotations

import hashlib
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BYTES: Final = 10
_LENGTH: Final = 16
_GROUP: Final = 4
_DROPPED: Final = str.maketrans("", "", " -–_.\t")
_MEANT: Final = str.maketrans("OILU", "011V")


def code_of(secret: str) -> str:
    """The code that belongs to a keyed hash: four groups of four."""
    number = int.from_bytes(hashlib.blake2b(secret.encode(), digest_size=_BYTES).digest())
    digits = [_ALPHABET[number >> 5 * n & 31] for n in reversed(range(_LENGTH))]
    starts = range(0, _LENGTH, _GROUP)
    return "-".join("".join(digits[n : n + _GROUP]) for n in starts)


def read_code(typed: object) -> str | None:
    """The digits of a code as somebody typed it; None for what can be no code.

    Case, spaces, dashes, and letters that are taken for others do not matter.
    """
    if not isinstance(typed, str) or len(typed) > 4 * _LENGTH:
        return None
    digits = typed.translate(_DROPPED)
    if len(digits) != _LENGTH or not digits.isascii():
        return None
    digits = digits.upper().translate(_MEANT)
    return digits if set(digits) <= set(_ALPHABET) else None
