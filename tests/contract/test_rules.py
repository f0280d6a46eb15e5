"""The SQL storages find by rule whom the evaluator in memory does."""

from __future__ import annotations

from pathlib import Path

import pytest

from crmkit import migrate
from crmkit.adapters.sql.storage import SqlStorage
from crmkit.testing import RuleContract


class TestSqlite(RuleContract):
    @pytest.fixture(autouse=True)
    def _url(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path / 'crm.db'}"

    def make_storage(self) -> SqlStorage:
        return SqlStorage.open(self.url)


class TestPostgres(RuleContract):
    @pytest.fixture(autouse=True)
    def _url(self, postgres_database: str) -> None:
        self.url = postgres_database

    def make_storage(self) -> SqlStorage:
        migrate(self.url)
        return SqlStorage.open(self.url)
