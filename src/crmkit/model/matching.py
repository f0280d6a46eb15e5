"""Finding who is who: match tokens, pairs that may be one person, and the fitted model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.model.catalogue import Data, Index, OnErase, OnMerge, Origin, assigned, record, stored


@record("crm_match_tokens", key=("fingerprint", "customer_id"), owner="customer_id",
        indexes=(Index(("tenant", "customer_id")),))  # fmt: skip
class MatchToken:
    """What a record of the same person is likely to share with a profile, as a keyed hash."""

    tenant: str = assigned()
    fingerprint: str = stored(Data.FINGERPRINT, Origin.ASSIGNED, merge=OnMerge.FOLD)
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)


@record(
    "crm_match_pairs",
    key=("one_id", "other_id"),
    indexes=(Index(("tenant", "other_id")), Index(("tenant", "dismissed", "score_ppm"))),
)
class MatchPair:
    """Two customers who may be one person, or who were said not to be.

    The ids are those that the two had when they were compared, in ascending order; a merge
    changes nothing here, and the erasure of either person removes the pair. `score_ppm` is
    the probability in millionths.
    """

    tenant: str = assigned()
    one_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    other_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED)
    score_ppm: int = stored(Data.TECHNICAL, Origin.INFERRED)
    dismissed: bool = stored(Data.TECHNICAL, Origin.ASSIGNED, default=False)
    found_at: datetime = assigned()


@record("crm_match_models", key=("id",))
class MatchModel:
    """Weights of matching that were fitted to this tenant's customers.

    There is one, and its id is the tenant's name; fitting again counts `version` up. `weights`
    holds probabilities by class, field and level. `common` holds keyed hashes: the ``words`` of
    names that are not rare, each with how many bear it, and ``short_forms`` that were learned.
    """

    tenant: str = assigned()
    id: str = assigned()
    version: int = assigned()
    customers: int = assigned()
    weights: Mapping[str, Any] = stored(
        Data.TECHNICAL, Origin.ASSIGNED, erase=OnErase.KEEP, shown=False
    )
    common: Mapping[str, Any] = stored(
        Data.FINGERPRINT, Origin.ASSIGNED, erase=OnErase.KEEP, shown=False
    )
    fitted_at: datetime = assigned()
