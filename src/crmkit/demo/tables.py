"""What the terminal and the page both show, in words and rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import log2
from typing import Final

from crmkit.demo.bookings import PACKAGED, ZONE
from crmkit.demo.quality import Quality
from crmkit.demo.run import SEGMENTS, Erasing, Outcome, Person
from crmkit.model import Activity, Money
from crmkit.reporting.text import abbreviate

Rows = list[tuple[str, ...]]

_IDENTIFIERS: Final = {
    "email": "e-mail",
    "phone": "phone",
    "instagram": "Instagram",
    "profile": "the whole profile",
}

ATTRIBUTION: Final = (
    "Booking dates and amounts: Chen, D. (2015), Online Retail, UCI Machine Learning Repository, "
    "CC BY 4.0, added up by invoice. Persons, venues, items and status are invented."
)


def title(outcome: Outcome) -> str:
    """What the report is about."""
    return "A year of bookings" if is_packaged(outcome) else f"Bookings of {outcome.path.name}"


def is_packaged(outcome: Outcome) -> bool:
    """Whether the bookings are those that crmkit carries, which ask for their attribution."""
    return outcome.path == PACKAGED


def summary(outcome: Outcome) -> str:
    """What was done, in a sentence."""
    done = outcome.recording
    new, before = len(done.customers) - done.recorded_before, done.recorded_before
    if new and before:
        what = f"{new:,} bookings recorded, beside {before:,} that an earlier run had recorded,"
    elif before:
        return f"An earlier run had recorded these bookings in {outcome.storage}; nothing changed."
    else:
        what = f"{new:,} bookings recorded"
    return f"{what} in {outcome.storage}, each with its customer in one transaction."


def figures(outcome: Outcome) -> list[tuple[str, str, str]]:
    """The key numbers: name, value, and what to know about it."""
    done, revenue = outcome.recording, outcome.total_revenue
    found = [(name, done.recognised[kind]) for kind, name in _IDENTIFIERS.items()]
    again = sum(n for _, n in found)
    lines = [
        ("Bookings read", f"{done.read:,}", _span(done.first_at, done.last_at)),
        ("Customers created", f"{done.created:,}", f"{outcome.customers:,} in the database"),
    ]
    if again or not done.recorded_before:
        how = ", ".join(f"{n:,} by {name}" for name, n in found if n)
        lines.append(("Customers found", f"{again:,}", how))
    if done.merged:
        lines.append(
            ("Customers merged", f"{done.merged:,}", "a later booking showed them to be one")
        )
    if done.recorded_before or done.erased:
        refused = f"; {len(done.erased):,} of an erased person refused" if done.erased else ""
        lines.append(("Recorded before", f"{done.recorded_before:,}", f"left as they are{refused}"))
    return [
        *lines,
        ("Rows skipped", f"{done.skipped:,}", "see below" if done.skipped else "all were usable"),
        ("Bookings per second", f"{done.bookings_per_second:,.0f}", f"{done.seconds:,.1f} seconds"),
        (f"Revenue, {revenue.currency}", abbreviate(revenue.amount), f"{revenue.amount:,.2f}"),
    ]


MATCHING_COLUMNS: Final = ("Told apart by", "Persons", "Precision", "Recall", "F1")


def matching(outcome: Outcome) -> Rows:
    """How well guests were told apart, beside what a plain key makes of them."""
    if outcome.quality is None or outcome.plain is None:
        return []
    true = f"{outcome.quality.true:,}"
    return [
        ("crmkit, as they come", *_measures(outcome.quality)),
        ("e-mail, else phone", *_measures(outcome.plain)),
        ("the truth", true, percent(1), percent(1), percent(1)),
    ]


def evidence(outcome: Outcome) -> list[tuple[str, float]]:
    """How an example's evidence adds up, in bits; the prior comes first."""
    found = outcome.recording.example
    if found is None:
        return []
    fields = [(f"{e.field}: {e.says}", e.weight) for e in found.evidence]
    odds = log2(found.probability / (1 - found.probability)) if found.probability < 1 else 50.0
    return [("before any field", round(odds - sum(w for _, w in fields), 2)), *fields]


def matching_note(outcome: Outcome) -> str:
    """What the numbers of `matching` mean, and what they do not."""
    if outcome.quality is None or outcome.plain is None:
        return "No truth to compare with: a file x.csv is compared with x_truth.csv beside it."
    return (
        f"Measured on all pairs of {outcome.quality.records:,} bookings, matched one at a time by "
        "the whole profile with the weights that ship; a scan of all customers finds more. "
        f"Taking the e-mail, else the phone, as typed finds {outcome.plain.found:,} persons; "
        f"the truth is {outcome.quality.true:,}."
    )


def months(outcome: Outcome) -> list[tuple[str, Money]]:
    """Revenue by month, with the months' names."""
    return [
        (datetime.strptime(month, "%Y-%m").strftime("%b %Y"), money)  # noqa: DTZ007 - a name only
        for month, money in outcome.revenue.items()
    ]


def groups(outcome: Outcome) -> list[tuple[str, list[tuple[str, int]]]]:
    """Customers by lifecycle stage, spending band and tier."""
    return [
        ("Lifecycle", _named(outcome.bands.lifecycle)),
        ("Spending band", _named(outcome.bands.spending)),
        ("Tier", _named(outcome.tiers)),
    ]


SEGMENT_COLUMNS: Final = ("Segment", "Who is in it", "Customers", "Share")


def segments(outcome: Outcome) -> Rows:
    """The segments and their sizes."""
    everybody = outcome.customers or 1
    return [
        (s.name, s.words, f"{size:,}", percent(size / everybody))
        for s in SEGMENTS
        for size in (outcome.segments[s.name],)
    ]


TYPED_COLUMNS: Final = ("Booking", "Name", "E-mail", "Phone")


def typed(person: Person) -> Rows:
    """What the guest typed, booking by booking."""
    return [(t.booking_id, t.name, t.email or "—", t.phone or "—") for t in person.typed]


TIMELINE_COLUMNS: Final = ("When", "What", "Item", "Venue", "Guests", "Amount")


def timeline(person: Person) -> Rows:
    """The person's latest activities."""
    return [_activity(fact) for fact in person.timeline]


RECEIPT_COLUMNS: Final = ("Table", "In the export", "Deleted", "Made anonymous", "Export after")


def receipt(person: Person, erasing: Erasing) -> Rows:
    """What was held, what the erasure did, and what is held now, table by table."""
    held, left = person.export["records"], erasing.export["records"]
    deleted, anonymised = erasing.receipt.deleted, erasing.receipt.anonymised
    return [
        (
            table,
            f"{len(held.get(table, ())):,}",
            _count_or_dash(deleted.get(table)),
            _count_or_dash(anonymised.get(table)),
            f"{len(left.get(table, ())):,}",
        )
        for table in sorted({**held, **deleted, **anonymised})
    ]


def erasure_note(outcome: Outcome) -> str:
    """What the erasure proves, or why this run erased nobody."""
    if outcome.erasing is not None:
        after = outcome.erasing.revenue
        kept = "as before" if after == outcome.total_revenue else "changed"
        return (
            "The export is empty now. Amounts and dates stay in the books, linked to nobody: "
            f"revenue is {kept}, {amount(after)}."
        )
    if outcome.recording.erased:
        return (
            f"{len(outcome.recording.erased):,} bookings in the file belong to a person whom an "
            "earlier run erased. Each was offered again and refused: nothing about that person is "
            "stored any more, and importing the file again does not bring the person back. "
            "Nobody else was erased."
        )
    return "There was nobody to erase."


def name_of(person: Person) -> str:
    """The person's name, or what stands for one."""
    return str(person.profile["name"] or "A guest without a name")


def records_in(export: Mapping[str, Mapping[str, list[object]]]) -> int:
    """How many records an export holds."""
    return sum(len(rows) for rows in export["records"].values())


def amount(money: Money) -> str:
    """An amount to read."""
    return str(money)


def percent(share: float) -> str:
    """A share to read; 100% is said of the whole only."""
    shown = f"{share:.1%}"
    return "99.9%" if shown == "100.0%" and share < 1 else shown


def day(moment: datetime) -> str:
    """A day where the venue is."""
    local = moment.astimezone(ZONE)
    return f"{local.day} {local:%B %Y}"


def _measures(quality: Quality) -> tuple[str, ...]:
    shares = (quality.precision, quality.recall, quality.f1)
    return (f"{quality.found:,}", *(percent(share) for share in shares))


def _span(first: datetime | None, last: datetime | None) -> str:
    return f"{day(first)} to {day(last)}" if first and last else ""


def _count_or_dash(count: int | None) -> str:
    return "—" if count is None else f"{count:,}"


def _named(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name.replace("_", " "), n) for name, n in counts.items()]


def _activity(fact: Activity) -> tuple[str, ...]:
    return (
        f"{fact.occurred_at.astimezone(ZONE):%Y-%m-%d %H:%M}",
        fact.kind.replace("_", "-"),
        fact.item or "—",
        fact.venue or "—",
        str(fact.payload.get("party_size", "—")),
        amount(fact.amount) if fact.amount else "—",
    )
