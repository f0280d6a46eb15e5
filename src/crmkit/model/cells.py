"""Cells of a spreadsheet that no program runs; pure."""

from __future__ import annotations

from typing import Final

# What makes a cell a formula in a spreadsheet; the wide forms do in East Asian versions.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def harmless(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would run it as a formula."""
    # Where lists are parted by semicolons, a cell may begin behind one too.
    cells = (cell.lstrip(" ") for cell in text.split(";"))
    return f"'{text.replace(';', ',')}" if any(c.startswith(_FORMULA) for c in cells) else text
