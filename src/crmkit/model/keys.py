"""The keys that personal fields are sealed with."""

from __future__ import annotations

from crmkit.model.catalogue import Data, Index, OnMerge, Origin, assigned, record, stored


@record(
    "crm_data_keys",
    key=("customer_id",),
    owner="customer_id",
    indexes=(Index(("tenant", "epoch", "customer_id")),),
)
class DataKey:
    """The key that one customer's personal fields are sealed with, itself sealed.

    `wrapped` is sealed with the master key of that `epoch`, by which the customer's identifiers
    and tokens are hashed too, once `rotate` has seen to it. The key goes with its customer. The
    one without a customer, whose id is empty, is the tenant's own; there `partly` says that rows
    may not be sealed yet that are older than it.
    """

    tenant: str = assigned()
    customer_id: str = stored(Data.TECHNICAL, Origin.ASSIGNED, merge=OnMerge.FOLD)
    epoch: str = stored(Data.CIPHERTEXT, Origin.ASSIGNED)
    wrapped: str = stored(Data.CIPHERTEXT, Origin.ASSIGNED, shown=False)
    partly: bool = stored(Data.CIPHERTEXT, Origin.ASSIGNED, default=False)
