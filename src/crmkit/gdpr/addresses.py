"""Addresses that people are contacted at: the form in which they are equal, and as keyed hashes."""

from __future__ import annotations

from typing import Final

import attrs

from crmkit.customers import contacts
from crmkit.errors import InvalidInput
from crmkit.model import Customer
from crmkit.model.consent import CHANNELS
from crmkit.model.document import text
from crmkit.ports.runtime import Runtime

_KINDS: Final = {"email": "email", "sms": "phone", "whatsapp": "phone", "phone": "phone"}


@attrs.frozen
class Address:
    """An address as it is written to (empty where only the hash is known), and its keyed hash."""

    written: str = attrs.field(repr=False)
    key: str


def checked_channel(channel: str) -> str:
    """The channel; raises `InvalidInput` for another word."""
    if channel not in CHANNELS:
        raise InvalidInput(f"expected one of {', '.join(CHANNELS)}", field="channel")
    return channel


def kind_of(channel: str) -> str | None:
    """``email`` or ``phone``: what a profile must hold for the channel; None for nothing."""
    return _KINDS.get(channel)


def address_of(rt: Runtime, channel: str, given: str) -> Address:
    """An address somebody named; raises `InvalidInput` for what cannot be one of that channel."""
    kind = _KINDS.get(channel)
    if kind is None:  # a device or a browser, by whatever name the host has for it
        written = text(given, field="address", limit=1_000)
        compared = written
    else:
        found = (
            contacts.email(given, field="address")
            if kind == "email"
            else contacts.phone(given, rt.settings.region, field="address")
        )
        written, compared = (found.stored, found.identifier) if found else (None, None)
    if written is None or compared is None:
        raise InvalidInput(f"expected an address that {channel} reaches", field="address")
    return Address(written, key_of(rt, kind or channel, compared))


def key_of(rt: Runtime, kind: str, compared: str) -> str:
    """The keyed hash of an address in the form in which two are compared."""
    return rt.fingerprint("contact address", f"{kind}:{compared}")


def purpose_key(rt: Runtime, purpose: str) -> str:
    """The keyed hash of a purpose, by which what is suppressed tells for what."""
    return rt.fingerprint("purpose of a suppression", purpose)


def addresses(rt: Runtime, customer: Customer, channel: str) -> list[Address]:
    """All addresses of a profile that the channel reaches; the main one first, if there is one."""
    kind = _KINDS.get(channel)
    if kind is None:
        return []
    main = customer.email if kind == "email" else customer.phone
    written = ([main] if main else []) + list(customer.aliases.get(kind, ()))
    form = contacts.canonical_email if kind == "email" else str
    found: dict[str, Address] = {}
    for each in written:
        key = key_of(rt, kind, form(each))
        found.setdefault(key, Address(each, key))
    return list(found.values())


def masked(channel: str, written: str) -> str:
    """Enough of an address for its owner to know it by."""
    if _KINDS.get(channel) == "email":
        local, _, domain = written.rpartition("@")
        return f"{local[:1]}•••@{domain}"
    return f"•••{written[-3:]}"
