"""Signed tokens for links: ids and keyed hashes, never personal data; pure.

A token has one meaning, for the keyed hash over it names its purpose. It says nothing by itself
about whom it is for, and cannot be made without the database's key.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

Fingerprint: TypeAlias = Callable[[str, str], str]
"""The keyed hash of a value for a purpose."""

_LONGEST: Final = 2_000


def signed(fingerprint: Fingerprint, purpose: str, parts: Sequence[str | None]) -> str:
    """The token of these parts, for URLs."""
    document = json.dumps(list(parts), separators=(",", ":")).encode()
    payload = base64.urlsafe_b64encode(document).decode().rstrip("=")
    return f"{payload}.{fingerprint(purpose, payload)}"


def opened(
    fingerprint: Fingerprint, purpose: str, token: object, count: int
) -> list[str | None] | None:
    """The parts of a token that was signed for this purpose; None for anything else."""
    if not isinstance(token, str) or len(token) > _LONGEST or not token.isascii():
        return None
    payload, _, mac = token.rpartition(".")
    if not hmac.compare_digest(fingerprint(purpose, payload), mac):
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return None
    return parts if isinstance(parts, list) and len(parts) == count else None
