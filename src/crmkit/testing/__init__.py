"""For hosts' and adapters' own tests: a clock, ids, the storages' contract, strategies.

The strategies need `hypothesis`, the rest needs nothing but crmkit.
"""

from typing import TYPE_CHECKING, Any

from crmkit.testing.clock import FrozenClock
from crmkit.testing.contract import StorageContract
from crmkit.testing.ids import CountingIds
from crmkit.testing.threads import together

if TYPE_CHECKING:
    from crmkit.testing.contract.rules import RuleContract
    from crmkit.testing.strategies import customers, histories, instants, rules, subjects

__all__ = [
    "CountingIds",
    "FrozenClock",
    "RuleContract",
    "StorageContract",
    "customers",
    "histories",
    "instants",
    "rules",
    "subjects",
    "together",
]


def __getattr__(name: str) -> Any:
    if name == "RuleContract":
        from crmkit.testing.contract.rules import RuleContract

        return RuleContract
    if name in ("customers", "histories", "instants", "rules", "subjects"):
        from crmkit.testing import strategies

        return getattr(strategies, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
