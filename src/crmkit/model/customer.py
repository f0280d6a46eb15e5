"""The person: profile, preferences, identifiers, tags and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import attrs

from crmkit.model.catalogue import (
    Data,
    Index,
    OnErase,
    OnMerge,
    Origin,
    assigned,
    record,
    seal,
    side,
    stored,
)


def _given(data: Data, *, default: Any = None, merge: OnMerge = OnMerge.FILL) -> Any:
    return stored(data, Origin.PROVIDED, merge=merge, default=default)


def _listed(data: Data = Data.PREFERENCE) -> Any:
    return stored(data, Origin.PROVIDED, merge=OnMerge.UNION, default=())


def _mapped(data: Data) -> Any:
    return stored(data, Origin.PROVIDED, merge=OnMerge.UNION, factory=dict)


def _observed(data: Data = Data.PREFERENCE) -> Any:
    return stored(data, Origin.OBSERVED, merge=OnMerge.FILL, default=None)


@attrs.frozen(kw_only=True)
class Preferences:
    """What a customer likes; every field is optional."""

    music_genres: tuple[str, ...] = _listed()
    dress_style: str | None = _given(Data.PREFERENCE)
    drinks: tuple[str, ...] = _listed()
    always_same_drink: bool | None = _given(Data.PREFERENCE)
    prefers_table: bool = stored(
        Data.PREFERENCE, Origin.PROVIDED, merge=OnMerge.LATEST, default=False
    )
    average_group_size: int | None = _observed(Data.BEHAVIOUR)
    comes_alone: bool | None = _observed(Data.BEHAVIOUR)
    people_brought: int | None = _observed(Data.BEHAVIOUR)
    preferred_days: tuple[str, ...] = _listed()
    arrival: str | None = _observed(Data.BEHAVIOUR)
    typical_arrival_time: str | None = _observed(Data.BEHAVIOUR)
    promotion_response: str | None = _observed(Data.BEHAVIOUR)
    social_engagement: str | None = _observed(Data.BEHAVIOUR)
    conversion_score: int | None = stored(
        Data.BEHAVIOUR, Origin.INFERRED, merge=OnMerge.FOLD, default=None
    )
    average_spending_minor: int | None = _observed(Data.BEHAVIOUR)
    dietary: tuple[str, ...] = _listed(Data.SPECIAL)
    seating: tuple[str, ...] = _listed()
    special_occasions: tuple[str, ...] = _listed()
    special_requests: str | None = _given(Data.FREE_TEXT)
    booking_types: tuple[str, ...] = _listed()
    interests: tuple[str, ...] = _listed()


@record("crm_customers", key=("id",), owner="id")
class Customer:
    """A customer: one person, once.

    `email_typed`, `phone_typed` and `instagram_typed` hold what the person typed,
    beside the form that is compared. `phone` is None for a number that cannot be
    one of any country's numbering plan; then only the typed form is kept. `aliases` maps
    ``name``, ``email``, ``phone`` and other fields to further values that the person gave,
    or that came with a merge.
    """

    tenant: str = assigned()
    id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.DELETE, merge=OnMerge.KEEP)
    created_at: datetime = stored(
        Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.DELETE, merge=OnMerge.EARLIEST
    )
    updated_at: datetime = stored(
        Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.DELETE, merge=OnMerge.LATEST
    )
    user_id: str | None = _given(Data.LINK)
    external_ids: Mapping[str, str] = _mapped(Data.LINK)
    name: str | None = _given(Data.NAME)
    first_name: str | None = _given(Data.NAME)
    last_name: str | None = _given(Data.NAME)
    nickname: str | None = _given(Data.NAME)
    email: str | None = _given(Data.CONTACT)
    email_typed: str | None = _given(Data.CONTACT)
    phone: str | None = _given(Data.CONTACT)
    phone_typed: str | None = _given(Data.CONTACT)
    instagram: str | None = _given(Data.CONTACT)
    instagram_typed: str | None = _given(Data.CONTACT)
    instagram_followers: int | None = _given(Data.DEMOGRAPHIC)
    social_handles: Mapping[str, str] = _mapped(Data.CONTACT)
    gender: str | None = _given(Data.DEMOGRAPHIC)
    birth_date: date | None = _given(Data.BIRTH)
    anniversary: date | None = _given(Data.BIRTH)
    occupation: str | None = _given(Data.DEMOGRAPHIC)
    language: str | None = _given(Data.DEMOGRAPHIC)
    address: str | None = _given(Data.LOCATION)
    postal_code: str | None = _given(Data.LOCATION)
    city: str | None = _given(Data.LOCATION)
    country: str | None = _given(Data.LOCATION)
    latitude_micro: int | None = _given(Data.LOCATION)
    longitude_micro: int | None = _given(Data.LOCATION)
    timezone: str | None = _given(Data.LOCATION)
    photo_url: str | None = _given(Data.CONTACT)
    preferred_contact: str | None = _given(Data.PREFERENCE)
    communication: tuple[str, ...] = _listed()
    source: str | None = stored(
        Data.BEHAVIOUR, Origin.PROVIDED, merge=OnMerge.FILL, default=None, sealed=True
    )
    account_created_at: datetime | None = _given(Data.TECHNICAL, merge=OnMerge.EARLIEST)
    preferences: Preferences = stored(
        Data.PREFERENCE, Origin.PROVIDED, merge=OnMerge.UNION, factory=Preferences
    )
    aliases: Mapping[str, Sequence[str]] = _mapped(Data.CONTACT)
    custom: Mapping[str, Any] = _mapped(Data.FREE_TEXT)
    metadata: Mapping[str, Any] = _mapped(Data.FREE_TEXT)
    sealed: str | None = seal(default=None)

    @property
    def full_name(self) -> str | None:
        """The name, else first name and surname together."""
        parts = [p for p in (self.first_name, self.last_name) if p]
        return self.name or " ".join(parts) or None


@record("crm_identities", key=("kind", "fingerprint", "slot"), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class Identity:
    """An identifier of a customer, as a keyed hash, with its `value` beside it.

    `slot` is empty for kinds that belong to one customer only (user account, external
    id, e-mail), so that the key itself forbids a second owner; for phones and Instagram
    handles, which families share, it is the id of the customer whom it was linked to first. A
    merge leaves it as it is.
    """

    tenant: str = assigned()
    kind: str = assigned()
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    slot: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    value: str = stored(Data.CONTACT, Origin.PROVIDED, default="")
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record(
    "crm_profile_changes",
    key=("id",),
    owner="customer_id",
    indexes=(
        Index(("tenant", "customer_id", "occurred_at")),
        Index(("tenant", "occurred_at", "customer_id")),
    ),
)
class ProfileChange:
    """A fact: these fields or tags of the profile changed to these values."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    changes: Mapping[str, Any] = stored(Data.FREE_TEXT, Origin.PROVIDED)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)


@record("crm_tags", key=("customer_id", "fingerprint"), owner="customer_id")
class Tag:
    """A label on a customer; the key holds its keyed hash, for staff write anything into labels."""

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED)
    tag: str = stored(Data.FREE_TEXT, Origin.OBSERVED, merge=OnMerge.UNION)
    tagged_at: datetime = assigned()
    sealed: str | None = seal(default=None)


@record("crm_search_tokens", key=("customer_id", "fingerprint"), owner="customer_id",
        indexes=(Index(("tenant", "fingerprint", "customer_id")),))  # fmt: skip
class SearchToken:
    """A part of a profile that the customer is found by, as a short keyed hash."""

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, merge=OnMerge.FOLD)


@record("crm_notes", key=("id",), owner="customer_id",
        indexes=(Index(("tenant", "customer_id", "occurred_at")),))  # fmt: skip
class Note:
    """A note that staff wrote about a customer."""

    tenant: str = assigned()
    id: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.MOVE)
    text: str = stored(Data.FREE_TEXT, Origin.OBSERVED)
    kind: str = assigned()
    author: str | None = stored(Data.LINK, Origin.OBSERVED, default=None)
    occurred_at: datetime = assigned()
    recorded_at: datetime = assigned()
    origin: str | None = side(default=None)
    sealed: str | None = seal(default=None)
