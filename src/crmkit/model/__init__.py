"""The nouns: records, money, time, ids. Importing this package fills the catalogue."""

from crmkit.model.activity import (
    Activity,
    Counter,
    Horizon,
    Metrics,
    Occasion,
    Participation,
)
from crmkit.model.catalogue import (
    Column,
    Data,
    Entry,
    OnErase,
    OnMerge,
    Origin,
    catalogue,
    entry_of,
)
from crmkit.model.customer import (
    Customer,
    Identity,
    Note,
    Preferences,
    ProfileChange,
    SearchToken,
    Tag,
)
from crmkit.model.loyalty import (
    Achievement,
    Enrolment,
    PointsAccount,
    PointsEntry,
    PointsLot,
    ProgrammeVersion,
    Redemption,
    RewardStock,
    TierGrant,
    TierPeriod,
)
from crmkit.model.matching import MatchModel, MatchPair, MatchToken
from crmkit.model.merge import Merge, Redirect, Snapshot
from crmkit.model.money import Money
from crmkit.model.page import Page
from crmkit.model.privacy import Consent, Erasure, IdempotencyKey
from crmkit.model.referral import ReferralAccepted, ReferralCode, ReferralMade
from crmkit.model.rights import PrivacyRequest, Rectification
from crmkit.model.segment import (
    Cutoff,
    Membership,
    Rank,
    Segment,
    SegmentCatalogue,
    SegmentState,
    SegmentStay,
    SegmentVersion,
)
from crmkit.model.value import Score, ValueModel

__all__ = [
    "Achievement",
    "Activity",
    "Column",
    "Consent",
    "Counter",
    "Customer",
    "Cutoff",
    "Data",
    "Enrolment",
    "Entry",
    "Erasure",
    "Horizon",
    "IdempotencyKey",
    "Identity",
    "MatchModel",
    "MatchPair",
    "MatchToken",
    "Membership",
    "Merge",
    "Metrics",
    "Money",
    "Note",
    "Occasion",
    "OnErase",
    "OnMerge",
    "Origin",
    "Page",
    "Participation",
    "PointsAccount",
    "PointsEntry",
    "PointsLot",
    "Preferences",
    "PrivacyRequest",
    "ProfileChange",
    "ProgrammeVersion",
    "Rank",
    "Rectification",
    "Redemption",
    "Redirect",
    "ReferralAccepted",
    "ReferralCode",
    "ReferralMade",
    "RewardStock",
    "Score",
    "SearchToken",
    "Segment",
    "SegmentCatalogue",
    "SegmentState",
    "SegmentStay",
    "SegmentVersion",
    "Snapshot",
    "Tag",
    "TierGrant",
    "TierPeriod",
    "ValueModel",
    "catalogue",
    "entry_of",
]
