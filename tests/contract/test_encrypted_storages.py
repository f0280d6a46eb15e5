"""A storage that seals what is personal keeps the contract of all storages, and of rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from crmkit import KeyRing, MemoryStorage, SqlStorage
from crmkit.adapters.encryption import EncryptedStorage
from crmkit.adapters.encryption.bounding import readable
from crmkit.model.rule import Rule
from crmkit.ports.storage import Storage
from crmkit.segmentation.evaluate import compiled
from crmkit.segmentation.subject import Subject
from crmkit.testing import RuleContract, StorageContract
from crmkit.testing.contract.rules import in_doubt, ranked
from crmkit.testing.strategies import SETTINGS
from tests.fixtures import sqlite_url

RING = KeyRing({"2026": bytes(range(32))})


class TestEncryptedMemory(StorageContract):
    seals = True

    def make_storage(self) -> Storage:
        return EncryptedStorage(MemoryStorage(), RING)


class TestEncryptedSqlite(StorageContract):
    seals = True

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_storage(self) -> Storage:
        return EncryptedStorage(SqlStorage.open(sqlite_url(self.folder)), RING)


class TestEncryptedPostgresql(StorageContract):
    seals = True

    @pytest.fixture(autouse=True)
    def _url(self, crm_database: str) -> None:
        self.url = crm_database

    def make_storage(self) -> Storage:
        return EncryptedStorage(SqlStorage.open(self.url), RING)


class TestRulesOnEncryptedSqlite(RuleContract):
    """What cannot be read the storage is unsure of; it never answers wrongly."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_storage(self) -> Storage:
        return EncryptedStorage(SqlStorage.open(sqlite_url(self.folder)), RING)

    def _check(
        self, rule: Rule, people: Sequence[Subject], at: datetime, found: dict[str, bool]
    ) -> None:
        if readable(rule):
            super()._check(rule, people, at, found)
            return
        holds = compiled(ranked(rule, people), SETTINGS)
        for subject in people:
            fits = subject.begins_at <= at and holds(subject, at)
            sure = found.get(subject.customer.id)
            if sure is not False and not in_doubt(rule, subject, at):
                assert sure is (True if fits else None), (rule, subject)
