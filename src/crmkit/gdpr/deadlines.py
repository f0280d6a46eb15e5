"""By when a request must be answered: the law's clocks as data, and its calendar; pure.

Sources:

- GDPR (Regulation (EU) 2016/679) Art. 12(3): one month from receipt, extendable by two further
  months if the person is told within the first.
- Regulation (EEC, Euratom) No 1182/71, Art. 3: the day of the event is not counted; a period in
  months ends with the last hour of the same date, or of the last day of a month that has no such
  date; where that is a public holiday, a Saturday or a Sunday, with the last hour of the
  following working day.
- EDPB Guidelines 01/2022, section 5.3: where the controller must first ask who it is, the period
  runs from the answer.
- CCPA: Cal. Civ. Code § 1798.130; 11 CCR § 7021 (receipt confirmed within 10 business days,
  answer within 45 calendar days whether verified or not, at most 90), § 7026(f) and § 7027(g)
  (opt-out and limiting use: 15 business days).
- CAN-SPAM: 15 U.S.C. § 7704(a)(4)(A): 10 business days.
- TCPA: 47 CFR § 64.1200(a)(10) as in force since 11 April 2025: 10 business days.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

import attrs
from dateutil.relativedelta import relativedelta

from crmkit.errors import InvalidInput, unknown
from crmkit.model.time import midnight

_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5


@attrs.frozen
class Term:
    """A length of time as a law states it."""

    count: int
    unit: Literal["months", "days", "business days"]

    def last_day(self, start: date, holidays: Collection[date]) -> date:
        """The last day of a term that something on `start` sets running."""
        match self.unit:
            case "months":
                # As Regulation 1182/71 counts: moved on to a working day.
                return _working(start + relativedelta(months=self.count), holidays)
            case "days":
                return start + timedelta(days=self.count)
        day = start
        for _ in range(self.count):
            day = _working(day + _DAY, holidays)
        return day

    def end(self, start: datetime, zone: ZoneInfo, holidays: Collection[date]) -> datetime:
        """The first instant that is too late: the last day's end, where the business is."""
        day = self.last_day(start.astimezone(zone).date(), holidays)
        return midnight(day + _DAY, zone)


def _working(day: date, holidays: Collection[date]) -> date:
    """The day, or the first after it that is a working day."""
    while day.weekday() >= _SATURDAY or day in holidays:
        day += _DAY
    return day


@attrs.frozen(kw_only=True)
class Clock:
    """What a law gives for a kind of request.

    `extended` is the whole term where it may be extended. With `from_verified` the term runs
    from when it is known who asks; with `at_once` what is asked must be done at once, and the
    term is for telling so.
    """

    answer: Term
    source: str
    extended: Term | None = None
    confirm: Term | None = None
    from_verified: bool = False
    at_once: bool = False


_MONTH: Final = Clock(
    answer=Term(1, "months"),
    extended=Term(3, "months"),
    from_verified=True,
    source="GDPR Art. 12(3)",
)
_STOP: Final = attrs.evolve(_MONTH, at_once=True)
_45_DAYS: Final = Clock(
    answer=Term(45, "days"),
    extended=Term(90, "days"),
    confirm=Term(10, "business days"),
    source="11 CCR § 7021",
)
_15_WORKING: Final = Clock(answer=Term(15, "business days"), source="11 CCR § 7026(f), § 7027(g)")

CLOCKS: Final[Mapping[str, Mapping[str, Clock]]] = {
    "gdpr": {
        **dict.fromkeys(
            ("access", "portability", "rectification", "erasure", "restriction"), _MONTH
        ),
        "objection": attrs.evolve(_STOP, source="GDPR Art. 21(3), 12(3)"),
        "consent_withdrawal": attrs.evolve(_STOP, source="GDPR Art. 7(3), 12(3)"),
    },
    "ccpa": {
        **dict.fromkeys(("access", "portability", "rectification", "erasure"), _45_DAYS),
        **dict.fromkeys(("opt_out", "restriction"), _15_WORKING),
    },
    "can_spam": {
        "opt_out": Clock(answer=Term(10, "business days"), source="15 U.S.C. § 7704(a)(4)(A)"),
    },
    "tcpa": dict.fromkeys(
        ("opt_out", "consent_withdrawal"),
        Clock(answer=Term(10, "business days"), source="47 CFR § 64.1200(a)(10)"),
    ),
}
"""The clocks by law and kind of request."""


def clock(jurisdiction: str, kind: str) -> Clock:
    """The clock of a kind of request under a law; raises `InvalidInput`."""
    kinds = CLOCKS.get(jurisdiction) if isinstance(jurisdiction, str) else None
    if kinds is None:
        raise InvalidInput(unknown("law", jurisdiction, CLOCKS), field="jurisdiction")
    found = kinds.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise InvalidInput(unknown("kind of request", kind, kinds), field="kind")
    return found
