"""A CRM that lives inside a booking app: its own database, its own transactions."""

from typing import TYPE_CHECKING, Any

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
from crmkit.service import CRMService
from crmkit.value_settings import Valuation

if TYPE_CHECKING:
    from crmkit.adapters.encryption import KeyRing
    from crmkit.adapters.sql import SqlStorage, migrate
    from crmkit.privacy_settings import PrivacyNotice, Purpose
    from crmkit.programmes import EarnRule, Programme, Tier
    from crmkit.retention import RetentionPolicy

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


# What is slow to import, SQLAlchemy most of all, waits until it is wanted.
_LATER = {
    "EarnRule": "crmkit.programmes",
    "KeyRing": "crmkit.adapters.encryption",
    "PrivacyNotice": "crmkit.privacy_settings",
    "Programme": "crmkit.programmes",
    "Purpose": "crmkit.privacy_settings",
    "RetentionPolicy": "crmkit.retention",
    "SqlStorage": "crmkit.adapters.sql",
    "Tier": "crmkit.programmes",
    "migrate": "crmkit.adapters.sql",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
