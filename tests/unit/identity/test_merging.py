"""Merges as a tree, and profiles that are parted again."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from crmkit.identity.merging import Tree, merged, parted, rows_of, state_of, three_way, won_of
from crmkit.model import Customer, Membership, Merge, Preferences, Snapshot, Tag

AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def merge(identifier: str, kept: str, dropped: str, step: int) -> Merge:
    return Merge(
        tenant="t", id=identifier, customer_id=kept, kept_id=kept, dropped_id=dropped, step=step,
        reason="why", at=AT, recorded_at=AT,
    )  # fmt: skip


# a and b into c, then d into a's person, then all into e.
TREE = Tree(
    [
        merge("m3", "c", "d", 3),
        merge("m1", "b", "a", 1),
        merge("m4", "e", "c", 4),
        merge("m2", "c", "b", 2),
    ]
)


def test_the_newest_node_is_the_last_merge() -> None:
    assert [TREE.node(c) for c in "abcde"] == ["a", "m1", "m3", "d", "m4"]


def test_a_side_is_all_that_was_merged_into_it() -> None:
    assert TREE.side("b") == {"b", "m1", "a"}
    assert TREE.side("c") == {"c", "m2", "b", "m1", "a", "m3", "d"}
    assert TREE.side("d") == {"d"}


def test_what_was_before_and_after_a_merge() -> None:
    by_id = {m.id: m for m in TREE.merges}
    assert {i: TREE.before(m) for i, m in by_id.items()} == {
        "m1": "b", "m2": "c", "m3": "m2", "m4": "e",
    }  # fmt: skip
    assert [m.id for m in TREE.after(by_id["m1"])] == ["m2", "m3", "m4"]
    assert TREE.after(by_id["m4"]) == []
    assert TREE.without(by_id["m3"]).node("c") == "m2"


def state(who: str = "c", tags: str = "", segments: str = "", **fields: Any) -> Any:
    profile = Customer(tenant="t", id=who, created_at=AT, updated_at=AT, **fields)
    labels = [
        Tag(tenant="t", customer_id=who, fingerprint=f"#{t}", tag=t, tagged_at=AT) for t in tags
    ]
    members = [Membership(tenant="t", customer_id=who, segment_id=s, added_at=AT) for s in segments]
    return state_of([profile, *labels, *members])


def snapshot(merge_id: str, kept: Any, dropped: Any, won: frozenset[str] = frozenset()) -> Snapshot:
    return Snapshot(
        tenant="t", merge_id=merge_id, customer_id="c", kept=kept, dropped=dropped,
        result=merged(kept, dropped, won),
    )  # fmt: skip


def test_rows_come_back_from_their_document() -> None:
    """Every type of field, under another owner."""
    told: dict[str, Any] = {
        "birth_date": date(2004, 2, 29),
        "account_created_at": AT,
        "communication": ("email",),
        "preferences": Preferences(drinks=("gin",), comes_alone=False),
        "aliases": {"name": ["A"]},
        "latitude_micro": 0,
    }
    rows = rows_of(state(tags="xy", segments="s", **told), "t", "d")
    expected = Customer(tenant="t", id="d", created_at=AT, updated_at=AT, **told)
    assert [expected] == [r for r in rows if isinstance(r, Customer)]
    assert {r.tag for r in rows if isinstance(r, Tag)} == {"x", "y"}
    assert state_of(rows) == state(tags="xy", segments="s", **told)


def test_what_nobody_touched_goes_back() -> None:
    before = state(name="Ana", city="Roma", custom={"a": 1}, tags="x")
    after = state(name="Ana", city="Roma", gender="F", custom={"a": 1, "b": 2}, tags="xy")
    assert three_way(before, after, after) == before


def test_what_was_changed_stays() -> None:
    """Each entry of a mapping by itself, each tag by itself, and fields of a group together."""
    before = state(city="Roma", custom={"a": 1}, tags="x")
    after = state(city="Leeds", country="GB", custom={"a": 1, "b": 2}, tags="xy")
    now = state(city="York", country="GB", custom={"a": 1, "b": 2, "c": 3}, tags="yz")
    found = three_way(before, after, now)
    assert found == state(city="York", country="GB", custom={"a": 1, "c": 3}, tags="z")


def test_an_empty_value_of_the_host_stays() -> None:
    before, after = state(custom={"a": {}}), state(custom={"a": {}, "b": {}})
    assert three_way(before, after, after) == before
    now = state(custom={"a": {}, "b": {}, "c": {}})
    assert three_way(before, after, now) == state(custom={"a": {}, "c": {}})


def test_later_merges_are_made_anew_by_their_own_choices() -> None:
    """The first of two merges is undone: what the second one chose stays chosen."""
    one, two, three = state(nickname="A"), state(nickname="B", gender="F"), state(nickname="C")
    first = snapshot("m1", one, two, frozenset({"nickname"}))
    second = snapshot("m2", first.result, three, frozenset())
    assert won_of(first) == {"nickname", "gender"}
    assert won_of(second) == frozenset()
    done = parted(
        merge("m1", "c", "d", 1), first, [(merge("m2", "c", "e", 2), second)], second.result
    )
    assert done.kept["crm_customers"][""]["nickname"] == "A"
    assert "gender" not in done.kept["crm_customers"][""]
    assert done.dropped == two
    assert done.snapshots[0].kept == one
    assert done.snapshots[0].result == done.kept
    assert done.restored == {"nickname", "gender", "aliases"}
    assert done.conflicts == frozenset()


def test_a_merge_inside_of_another_amends_what_that_one_had_dropped() -> None:
    one, two, three = state(city="Roma"), state(gender="F"), state(nickname="C")
    first = snapshot("m1", one, two)
    second = snapshot("m2", three, first.result)
    done = parted(
        merge("m1", "c", "d", 1), first, [(merge("m2", "e", "c", 2), second)], second.result
    )
    assert done.snapshots[0].dropped == one
    assert done.kept == merged(three, one, frozenset())
