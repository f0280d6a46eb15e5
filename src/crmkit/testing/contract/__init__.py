"""`StorageContract`: what every storage promises, as tests that an adapter's author runs."""

from __future__ import annotations

from crmkit.testing.contract.concurrency import Concurrency
from crmkit.testing.contract.operations import (
    FilterOperations,
    KeyedOperations,
    LinkedOperations,
    OrderedOperations,
)
from crmkit.testing.contract.records import RoundTrips, Tenants
from crmkit.testing.contract.transactions import Gathering, Sums, Transactions

__all__ = ["StorageContract"]


class StorageContract(
    KeyedOperations,
    FilterOperations,
    OrderedOperations,
    LinkedOperations,
    RoundTrips,
    Tenants,
    Transactions,
    Sums,
    Gathering,
    Concurrency,
):
    """The promises of `crmkit.ports.storage`; a storage that passes them can be plugged in.

    Subclass it in a test file and make the storage::

        class TestMyStorage(StorageContract):
            def make_storage(self):
                return MyStorage("…")

    pytest finds and runs the inherited tests. Each uses a tenant of its own, so the
    storage need not be empty. For details of failing comparisons put
    ``pytest.register_assert_rewrite("crmkit.testing.contract")`` into `conftest.py`.
    """
