"""Scores by the models of value: refreshed, kept, and asked for by rules, on every storage."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, RuleError
from crmkit.model import Score
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.rules import f
from crmkit.testing import FrozenClock

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""Where the clock of the tests stands."""


def guest(crm: CRMService, name: str, *days_ago: float, amount: float = 40) -> str:
    who = crm.find_or_create({"email": f"{name}@mail.com", "name": name}).id
    for days in days_ago:
        crm.track_activity(who, "purchase", {"amount": amount}, at=NOW - timedelta(days=days))
    return who


@pytest.fixture
def people(crm: CRMService) -> dict[str, str]:
    """Some who come often, once, long ago, and never."""
    made = {"lead": guest(crm, "lead"), "once": guest(crm, "once", 20)}
    made["gone"] = guest(crm, "gone", 400, 380, 300, amount=90)
    for n in range(4):
        made[f"often{n}"] = guest(crm, f"often{n}", *range(3 + n, 100, 7 + n), amount=20 + n)
    crm.insights.fit()
    return made


def scores(crm: CRMService, storage: Storage) -> dict[str, Score]:
    with storage.read(crm.tenant) as uow:
        return {score.customer_id: score for score in uow.find(Score)}


def members(crm: CRMService, rule: Any) -> set[str]:
    name = f"asked {len(list(crm.segments.list()))}"
    crm.segments.create(name, rule)
    return {customer.id for customer in crm.segments.members(name)}


class TestRefresh:
    def test_scores_are_what_insights_say(
        self, crm: CRMService, storage: Storage, people: dict[str, str]
    ) -> None:
        """Of everybody; before the first purchase only what does not ask for one."""
        assert crm.insights.standing.refresh() == len(people)
        standing = crm.insights.standing
        found = scores(crm, storage)
        assert set(found) == set(people.values())
        for who, score in found.items():
            value = crm.insights.lifetime_value(who)
            churn, rfm = standing.churn(who), standing.rfm_of(who)
            assert score.engagement == round(standing.engagement(who).score)
            assert score.predicted_minor == (value.predicted and value.predicted.minor)
            whole = value.total or value.historic
            assert score.lifetime_minor == whole.minor
            active = value.p_active
            assert score.active_ppm == (None if active is None else round(active * 1_000_000))
            assert score.churn_band == (churn and churn.band)
            assert score.rfm_group == (rfm and rfm.group)
            assert score.refreshed_at == NOW
        assert found[people["lead"]].active_ppm is None
        assert found[people["gone"]].churn_band == "churned"

    def test_only_what_has_changed_is_told(
        self, crm: CRMService, people: dict[str, str], clock: FrozenClock
    ) -> None:
        assert crm.insights.standing.refresh() == len(people)
        assert crm.insights.standing.refresh() == 0
        crm.track_activity(people["once"], "purchase", {"amount": 20})
        assert crm.insights.standing.refresh() >= 1
        assert clock() == NOW

    def test_pages_leave_out_nobody(
        self,
        crm: CRMService,
        storage: Storage,
        people: dict[str, str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        crm.insights.standing.refresh()
        whole = scores(crm, storage)
        storage.write(crm.tenant, lambda uow: uow.remove(Score))
        monkeypatch.setattr("crmkit.insights.buying.PAGE", 2)
        assert crm.insights.standing.refresh() == len(people)
        assert scores(crm, storage) == whole

    def test_without_a_model_there_are_none(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput, match="no model was fitted"):
            crm.insights.standing.refresh()

    def test_run_due_refreshes_with_each_new_model(
        self, crm: CRMService, storage: Storage, people: dict[str, str], clock: FrozenClock
    ) -> None:
        """Not where nobody ever asked for scores; then once a week, and once only."""
        clock.advance(days=7)
        assert crm.run_due().done == 1
        assert scores(crm, storage) == {}
        crm.insights.standing.refresh()
        clock.advance(days=7)
        assert [crm.run_due().done for _ in range(2)] == [2, 0]
        assert {s.refreshed_at for s in scores(crm, storage).values()} == {clock()}
        assert len(people) == 7

    def test_a_refresh_that_was_broken_off_is_done_again(
        self, crm: CRMService, storage: Storage, people: dict[str, str], clock: FrozenClock
    ) -> None:
        crm.insights.standing.refresh()
        clock.advance(days=1)
        crm.insights.fit()
        assert crm.run_due().done == 1
        assert {s.refreshed_at for s in scores(crm, storage).values()} == {clock()}
        assert len(people) == 7

    def test_it_joins_the_hosts_transaction(
        self, crm: CRMService, storage: Storage, people: dict[str, str]
    ) -> None:
        """What the host rolls back leaves no score."""

        def broken(uow: UnitOfWork) -> None:
            uow.put(Score(tenant=crm.tenant, customer_id=people["once"], refreshed_at=NOW))
            raise KeyError

        with pytest.raises(KeyError):
            storage.write(crm.tenant, broken)
        assert scores(crm, storage) == {}


class TestRules:
    def test_each_field_finds_whom_it_fits(
        self, crm: CRMService, storage: Storage, people: dict[str, str]
    ) -> None:
        crm.insights.standing.refresh()
        found = scores(crm, storage)

        def those(fits: Callable[[Score], bool]) -> set[str]:
            return {who for who, score in found.items() if fits(score)}

        rules: dict[Any, set[str]] = {
            ("lifetime_value", ">=", 100): those(lambda s: s.lifetime_minor >= 10_000),
            ("predicted_value", "<", 100): those(lambda s: (s.predicted_minor or 0) < 10_000)
            - {people["lead"]},
            ("p_active", ">", 0.5): those(lambda s: (s.active_ppm or 0) > 500_000),
            ("churn_risk", "in", ("churned", "high")): {people["gone"]},
            ("rfm_group", "exists", False): {people["lead"]},
            ("engagement", ">=", 50): those(lambda s: s.engagement >= 50),
        }  # fmt: skip
        for (field, operator, value), expected in rules.items():
            raw = list(value) if isinstance(value, tuple) else value
            rule = {"field": field, "operator": operator, "value": raw}
            assert members(crm, rule) == expected, field
            assert expected

    def test_who_was_not_scored_yet_has_no_score(
        self, crm: CRMService, people: dict[str, str]
    ) -> None:
        crm.insights.standing.refresh()
        late = guest(crm, "late", 3)
        assert late not in members(crm, f.p_active >= 0)
        assert late in members(crm, {"field": "p_active", "operator": "exists", "value": False})
        crm.insights.standing.refresh()
        assert late in members(crm, f.p_active >= 0)
        assert people

    def test_an_activity_changes_a_score_with_the_next_refresh(
        self, crm: CRMService, storage: Storage, people: dict[str, str]
    ) -> None:
        crm.insights.standing.refresh()
        before = scores(crm, storage)[people["once"]]
        crm.track_activity(people["once"], "purchase", {"amount": 70})
        assert scores(crm, storage)[people["once"]] == before
        crm.insights.standing.refresh()
        after = scores(crm, storage)[people["once"]]
        assert after.lifetime_minor > before.lifetime_minor

    def test_segments_are_kept_in_step(
        self, crm: CRMService, people: dict[str, str], clock: FrozenClock
    ) -> None:
        """Who fits by a refresh comes in at its instant, and leaves at that of a later one."""
        crm.segments.create("at risk", f.churn_risk == "churned")
        crm.insights.standing.refresh()
        assert [c.id for c in crm.segments.members("at risk")] == [people["gone"]]
        (stay,) = crm.segments.analytics.history("at risk")
        assert (stay.customer_id, stay.entered_at, stay.left_at) == (people["gone"], NOW, None)
        clock.advance(days=1)
        crm.track_activity(people["gone"], "purchase", {"amount": 5})
        crm.insights.standing.refresh()
        assert list(crm.segments.members("at risk")) == []
        (stay,) = crm.segments.analytics.history("at risk")
        assert stay.left_at == clock()
        assert crm.segments.verify("at risk").members == 0

    def test_words_and_explanations(self, crm: CRMService, people: dict[str, str]) -> None:
        crm.insights.standing.refresh()
        crm.segments.create("likely", f.p_active > 0.25)
        crm.segments.create("worthy", f.predicted_value > 1)
        (told,) = crm.segments.explain(people["gone"], "likely").root.leaves()
        assert told.words == "p active is above 25 %"
        assert told.expected == 0.25
        value = crm.get_lifetime_value(people["gone"]).p_active
        assert told.actual == pytest.approx(value, abs=1e-6)
        (worth,) = crm.segments.explain(people["once"], "worthy").root.leaves()
        assert worth.found.endswith(" EUR")

    def test_a_score_can_be_exported(self, crm: CRMService, people: dict[str, str]) -> None:
        crm.insights.standing.refresh()
        crm.segments.create("gone", f.churn_risk == "churned")
        out = io.StringIO()
        crm.segments.analytics.export("gone", out, ["name", "p_active", "rfm_group"])
        _, row = out.getvalue().splitlines()
        name, active, _ = row.split(",")
        assert name == "gone"
        assert float(active) == pytest.approx(
            crm.get_lifetime_value(people["gone"]).p_active, abs=1e-6
        )

    @pytest.mark.parametrize("wrong", [-0.1, 1.1, 30, "0.3", True, None])
    def test_a_share_is_between_0_and_1(self, crm: CRMService, wrong: Any) -> None:
        with pytest.raises(RuleError):
            crm.segments.create("s", {"field": "p_active", "operator": "<", "value": wrong})


class TestPeople:
    def test_a_merge_keeps_the_kept_ones_score_and_gives_both_back(
        self, crm: CRMService, storage: Storage, people: dict[str, str]
    ) -> None:
        crm.insights.standing.refresh()
        before = scores(crm, storage)
        merge = crm.identity.merge(people["once"], people["gone"], reason="one")
        between = scores(crm, storage)
        assert people["gone"] not in between
        assert between[people["once"]] == before[people["once"]]
        crm.identity.unmerge(merge.id)
        assert scores(crm, storage) == before

    def test_it_is_in_the_export_and_goes_with_its_person(
        self, crm: CRMService, storage: Storage, people: dict[str, str]
    ) -> None:
        crm.insights.standing.refresh()
        (told,) = crm.gdpr.export(people["gone"]).records["crm_value_scores"]
        assert told["churn_band"] == "churned"
        assert crm.gdpr.erase(people["gone"]).deleted["crm_value_scores"] == 1
        assert people["gone"] not in scores(crm, storage)
