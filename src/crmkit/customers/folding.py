"""Text as it is searched: without case, accents and alphabets; pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Letters that Unicode does not take apart into a plain letter and a mark.
_LATIN: Final = dict(zip("łøıħŧŋ", "loihtn", strict=True)) | {
    "đ": "dj", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ə": "e"
}  # fmt: skip
# As on a Serbian or Bulgarian identity card, without the marks.
_CYRILLIC: Final = dict(
    zip("абвгдежзийклмнопрстуфхцчшщыэіґјћѕѝ", "abvgdezziiklmnoprstufhccssyeigjczi", strict=True)
) | {
    "ъ": "a", "ь": "", "ю": "iu", "я": "ia", "є": "ie", "ђ": "dj", "љ": "lj", "њ": "nj", "џ": "dz"
}  # fmt: skip
# As on a Greek identity card (ELOT 743).
_GREEK: Final = dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True)) | {
    "θ": "th", "χ": "ch", "ψ": "ps"
}  # fmt: skip
_OU: Final = "\u03bf\u03c5"  # omicron, upsilon: two letters for one sound

_LETTERS: Final = str.maketrans(_LATIN | _CYRILLIC | _GREEK)
_APOSTROPHES: Final = re.compile("['’`\u02bc\u00b4]")
_PARTS: Final = re.compile(r"[^\W\d_]+|\d+")


def folded(text: str) -> str:
    """The text in plain small letters: ``Đorđe Ștefănescu`` is ``djordje stefanescu``."""
    if text.isascii():
        return text.lower()
    # Some letters have a case only once they are taken apart: ℠ is SM.
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(c for c in apart if not unicodedata.combining(c))
    return plain.replace(_OU, "ou").translate(_LETTERS)


def parts(text: str) -> list[str]:
    """The runs of letters, and the runs of digits, of a folded text: O'Brien is one word."""
    return _PARTS.findall(_APOSTROPHES.sub("", text))
