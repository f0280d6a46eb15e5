"""The SQL storages find by rule whom the evaluator in memory does."""

from __future__ import annotations

import pytest

from crmkit.adapters.sql.storage import SqlStorage
from crmkit.testing import RuleContract


class TestSqlite(RuleContract):
    def make_storage(self) -> SqlStorage:
        return SqlStorage.open("sqlite://")


class TestPostgres(RuleContract):
    @pytest.fixture(autouse=True)
    def _url(self, postgres_database: str) -> None:
        self.url = postgres_database

    def make_storage(self) -> SqlStorage:
        from crmkit import migrate

        migrate(self.url)
        return SqlStorage.open(self.url)
