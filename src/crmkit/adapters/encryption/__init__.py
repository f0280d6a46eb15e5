"""Encryption at rest: a key ring, and a storage that seals what is personal."""

from crmkit.adapters.encryption.providers import EnvironmentKeys, FileKeys, FixedKeys, KmsKeys
from crmkit.adapters.encryption.ring import KeyProvider, KeyRing, new_key
from crmkit.adapters.encryption.storage import EncryptedStorage

__all__ = [
    "EncryptedStorage",
    "EnvironmentKeys",
    "FileKeys",
    "FixedKeys",
    "KeyProvider",
    "KeyRing",
    "KmsKeys",
    "new_key",
]
