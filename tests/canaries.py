"""Finding what `populate` hid."""

from __future__ import annotations

import re

from tests.populate import MARK, OTHERS

_CANARY = re.compile(f"{MARK}[a-z ]+{MARK}", re.IGNORECASE)


def canaries(text: str | bytes) -> set[str]:
    """The canaries in a text."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    found = {match.lower() for match in _CANARY.findall(text)}
    return found | {word for word in OTHERS if word in text.lower()}
