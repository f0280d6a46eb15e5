"""Given names, and what their bearers are called for short or at home; pure.

The names stand in ``nicknames.txt`` beside this module and are read when first asked for.
All names here are folded: plain small letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

# To each form, the families it belongs to; a family is named by language and formal form.
Families = Mapping[str, frozenset[str]]

_NOWHERE: frozenset[str] = frozenset()


@cache
def shipped() -> Families:
    """The families of each form: ``bill`` belongs to ``en:william``."""
    text = files("crmkit.identity").joinpath("nicknames.txt").read_text(encoding="utf-8")
    return MappingProxyType(parsed(text))


def parsed(text: str) -> dict[str, frozenset[str]]:
    """The families of each form, from a text laid out as ``nicknames.txt`` is."""
    families: dict[str, frozenset[str]] = {}
    joined = f"\n{text}".replace("\n  ", " ").replace(":", " ")
    _, *sections = joined.split("\n[")  # the first part is the file's own comment
    for section in sections:
        language, _, lines = section.partition("]")
        for forms in map(str.split, lines.strip().splitlines()):
            _add(families, forms, frozenset((f"{language}:{forms[0]}",)))
    return families


def extended(extra: Mapping[str, Iterable[str]]) -> Families:
    """The shipped families and the host's own short forms, by formal name.

    A formal name that is shipped gains them; any other starts a family.
    """
    families = dict(shipped())
    for formal, short in extra.items():
        # As a short form it may belong to families that the host did not mean.
        named = (f for f in shipped().get(formal, ()) if f.endswith(f":{formal}"))
        family = frozenset(named) or frozenset((f"own:{formal}",))
        _add(families, (formal, *short), family)
    return MappingProxyType(families)


def related(a: str, b: str, families: Families | None = None) -> bool:
    """Whether one name is short for the other, or both are short for, or spell, a third.

    Alexander and Alexandra, who share short forms only, are not; nor is a name to itself.
    `families` are the shipped ones unless given.
    """
    if a == b:
        return False
    table = shipped() if families is None else families
    return not table.get(a, _NOWHERE).isdisjoint(table.get(b, _NOWHERE))


def _add(families: dict[str, frozenset[str]], forms: Iterable[str], family: frozenset[str]) -> None:
    for form in forms:
        known = families.setdefault(form, family)
        if known is not family:
            families[form] = known | family
