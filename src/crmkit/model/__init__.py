"""The nouns: records, money, time, ids. Importing this package fills the catalogue."""

from crmkit.model.activity import (
    Activity,
    Counter,
    Horizon,
    Metrics,
    Occasion,
    Participation,
)
from crmkit.model.audit import AuditChain, AuditRow, AuditSubject
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
from crmkit.model.consent import Consent, Notice, Objection, Restriction, Suppression
from crmkit.model.customer import (
    Customer,
    Identity,
    Note,
    Preferences,
    ProfileChange,
    SearchToken,
    Tag,
)
from crmkit.model.keys import DataKey
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
from crmkit.model.privacy import Erasure, IdempotencyKey
from crmkit.model.referral import ReferralAccepted, ReferralCode, ReferralMade
from crmkit.model.retention import Carried, LegalHold, RetentionNotice, RetentionRun
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
    "AuditChain",
    "AuditRow",
    "AuditSubject",
    "Carried",
    "Column",
    "Consent",
    "Counter",
    "Customer",
    "Cutoff",
    "Data",
    "DataKey",
    "Enrolment",
    "Entry",
    "Erasure",
    "Horizon",
    "IdempotencyKey",
    "Identity",
    "LegalHold",
    "MatchModel",
    "MatchPair",
    "MatchToken",
    "Membership",
    "Merge",
    "Metrics",
    "Money",
    "Note",
    "Notice",
    "Objection",
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
    "Restriction",
    "RetentionNotice",
    "RetentionRun",
    "RewardStock",
    "Score",
    "SearchToken",
    "Segment",
    "SegmentCatalogue",
    "SegmentState",
    "SegmentStay",
    "SegmentVersion",
    "Snapshot",
    "Suppression",
    "Tag",
    "TierGrant",
    "TierPeriod",
    "ValueModel",
    "catalogue",
    "entry_of",
]
