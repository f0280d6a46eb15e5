"""Tiers as they are kept, for tests that only look at them."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from crmkit.config import Settings
from crmkit.model import TierPeriod
from crmkit.model.time import FOREVER


def held(
    *names: tuple[datetime, str], settings: Settings | None = None, tenant: str = "t", id: str = "c"
) -> tuple[TierPeriod, ...]:
    """The periods of a customer who has each tier from an instant on, until the next."""
    programme = (settings or Settings()).programme
    return tuple(
        TierPeriod(
            tenant=tenant,
            customer_id=id,
            programme=programme.name,
            since=since,
            until=until,
            rank=programme.ranks[name],
            tier=name,
            cause="reached",
        )
        for (since, name), (until, _) in pairwise([*names, (FOREVER, "")])
    )
