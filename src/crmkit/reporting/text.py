"""How text and numbers look in a report: made safe, made short, made readable."""

from __future__ import annotations

import html
import re
import unicodedata
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final, TypeAlias

Number: TypeAlias = int | float | Decimal

# Own context: a host may have set a narrow precision or traps on its thread.
ARITHMETIC: Final = Context(prec=34, rounding=ROUND_HALF_UP)
_THREE_DIGITS: Final = Context(prec=3, rounding=ROUND_HALF_UP)
_LARGEST_EXPONENT: Final = 1_000
_SUFFIXES: Final = ("", "k", "M", "B", "T")
_MINUS: Final = "\N{MINUS SIGN}"
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_EM_WIDTHS: Final = (
    (re.compile(r"[iIjl.,:;'|! ]"), 0.36),
    (re.compile(r"[frt()/-]"), 0.45),
    (re.compile(r"[mwW@%]"), 0.99),
    (re.compile(r"[M]"), 0.88),
    (re.compile(r"[A-Z]"), 0.74),
    (re.compile(r"[ -~]"), 0.64),
)


def escape(text: str) -> str:
    """Return `text` safe for element content and quoted attributes of HTML and XML.

    Characters that XML forbids (NUL, lone surrogates, …) become U+FFFD.
    """
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)


def one_line(text: str, *, at_most: int = 300) -> str:
    """Return `text` with every run of white space as one space, cut after `at_most` characters."""
    flat = " ".join(text[: at_most * 4].split())
    return flat if len(flat) <= at_most else flat[: at_most - 1].rstrip() + "…"


def text_width(text: str, size: float) -> float:
    """Estimate, on the wide side, how many units `text` takes at font size `size`."""
    return sum(_em_width(char) for char in text) * size


def shorten(text: str, size: float, room: float) -> str:
    """Return `text` on one line, cut with an ellipsis where it would exceed `room` units."""
    flat = one_line(text)
    if text_width(flat, size) <= room:
        return flat
    left = room - text_width("…", size)
    kept = 0
    for char in flat:
        left -= _em_width(char) * size
        if left < 0:
            break
        kept += 1
    return flat[:kept].rstrip() + "…"


def to_decimal(value: Number) -> Decimal:
    """Return `value` exactly as it is written.

    Raises:
        TypeError: it is not an int, float or Decimal.
        ValueError: it is NaN, infinite, or beyond 1e1000 (nothing a person could read).
    """
    if isinstance(value, float):
        exact = Decimal(str(float(value)))
    elif isinstance(value, int | Decimal):
        exact = Decimal(value)
    else:
        raise TypeError(f"expected a number, got {type(value).__name__}")
    if not exact.is_finite():
        raise ValueError("expected a finite number, got NaN or infinity")
    if exact and abs(exact.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError("expected a number between 1e-1000 and 1e1000")
    return exact or Decimal(0)  # no minus zero


def format_number(value: Number) -> str:
    """Return `value` in full: ``1,234,567``, ``12.50``; abbreviated only beyond 15 digits."""
    exact = to_decimal(value)
    if exact and not -3 < exact.adjusted() < 15:
        return abbreviate(exact)
    with localcontext(ARITHMETIC):
        decimals = 0 if exact == exact.to_integral_value() else 2
        return f"{exact:,.{decimals}f}".replace("-", _MINUS)


def abbreviate(value: Number) -> str:
    """Return `value` in three significant digits: ``850k``, ``1.2M``, ``−3.05B``."""
    rounded = _THREE_DIGITS.plus(to_decimal(value))
    with localcontext(ARITHMETIC):
        thousands = max(0, rounded.adjusted() // 3) if rounded else 0
        if thousands >= len(_SUFFIXES) or (rounded and rounded.adjusted() < -4):
            return _scientific(rounded)
        scaled = f"{rounded.scaleb(-3 * thousands):f}"
    if "." in scaled:
        scaled = scaled.rstrip("0").rstrip(".")
    return scaled.replace("-", _MINUS) + _SUFFIXES[thousands]


def _scientific(value: Decimal) -> str:
    exponent = value.adjusted()
    mantissa = f"{value.scaleb(-exponent).normalize():f}"
    return f"{mantissa}e{exponent}".replace("-", _MINUS)


def _em_width(char: str) -> float:
    for pattern, width in _EM_WIDTHS:
        if pattern.match(char):
            return width
    if unicodedata.combining(char):
        return 0.0
    return 1.05 if unicodedata.east_asian_width(char) in "WF" else 0.78
