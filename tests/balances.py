"""Accounts of points, for tests that only look at them."""

from __future__ import annotations

from datetime import datetime

import attrs

from crmkit.model import PointsAccount
from crmkit.model.catalogue import evolved
from crmkit.segmentation.subject import Subject


def held_at(account: PointsAccount, at: datetime) -> bool:
    """Whether the balance is that of an instant."""
    begun = account.since is None or account.since <= at
    return begun and (account.next_at is None or account.next_at > at)


def told_at(subject: Subject, at: datetime) -> Subject:
    """The subject with an account whose balance is that of an instant."""
    account = subject.account
    if account is None or held_at(account, at):
        return subject
    ahead = account.next_at is not None and account.next_at > at
    kept = evolved(account, since=None, next_at=account.next_at if ahead else None)
    return attrs.evolve(subject, account=kept)


def kept_for_ever(subject: Subject) -> Subject:
    """The subject with a balance that never turns."""
    if subject.account is None:
        return subject
    return attrs.evolve(subject, account=evolved(subject.account, since=None, next_at=None))
