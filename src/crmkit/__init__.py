"""A CRM that lives inside a booking app: its own database, its own transactions."""

from typing import TYPE_CHECKING, Any

from crmkit.adapters.encryption import KeyRing
from crmkit.adapters.memory import MemoryStorage
from crmkit.config import (
    Kind,
    Lifecycle,
    Matching,
    Settings,
    SpendingBands,
    Survivorship,
)
from crmkit.errors import (
    AlreadyTaken,
    CRMError,
    DecryptionError,
    Erased,
    IdempotencyConflict,
    InsufficientPoints,
    InvalidInput,
    MissingExtra,
    NotFound,
    OnHold,
    RewardRefused,
    RuleError,
    SchemaOutdated,
    StorageBusy,
    StorageError,
)
from crmkit.model import Activity, Customer, Merge, Metrics, Money, Page
from crmkit.payload_fields import PayloadField
from crmkit.privacy_settings import PrivacyNotice, Purpose
from crmkit.programmes import EarnRule, Programme, Tier
from crmkit.retention import RetentionPolicy
from crmkit.service import CRMService
from crmkit.value_settings import Valuation

if TYPE_CHECKING:
    from crmkit.adapters.sql import SqlStorage, migrate

__all__ = [
    "Activity",
    "AlreadyTaken",
    "CRMError",
    "CRMService",
    "Customer",
    "DecryptionError",
    "EarnRule",
    "Erased",
    "IdempotencyConflict",
    "InsufficientPoints",
    "InvalidInput",
    "KeyRing",
    "Kind",
    "Lifecycle",
    "Matching",
    "MemoryStorage",
    "Merge",
    "Metrics",
    "MissingExtra",
    "Money",
    "NotFound",
    "OnHold",
    "Page",
    "PayloadField",
    "PrivacyNotice",
    "Programme",
    "Purpose",
    "RetentionPolicy",
    "RewardRefused",
    "RuleError",
    "SchemaOutdated",
    "Settings",
    "SpendingBands",
    "SqlStorage",
    "StorageBusy",
    "StorageError",
    "Survivorship",
    "Tier",
    "Valuation",
    "migrate",
]


def __getattr__(name: str) -> Any:
    # SQLAlchemy is the slowest import by far; it waits until a SQL storage is wanted.
    if name in ("SqlStorage", "migrate"):
        from crmkit.adapters import sql

        return getattr(sql, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
