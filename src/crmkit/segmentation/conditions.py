"""Rules that other features attach to what they do: who may have it, at what instant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.errors import InvalidInput, RuleError, shown
from crmkit.model.document import canonical
from crmkit.model.rule import Rule
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation import asking
from crmkit.segmentation.asking import When
from crmkit.segmentation.rules import parse


def parsed(rt: Runtime, rules: Mapping[str, Any]) -> Rule:
    """The rule of a document; raises `RuleError`."""
    known = rt.memory.setdefault("conditions", {})
    place = (rt.tenant, canonical(rules))
    if place not in known:
        known[place] = parse(rules, rt.settings)
    rule: Rule = known[place]
    return rule


def check(rt: Runtime) -> None:
    """Raise `InvalidInput` for a condition of a programme that is no rule, with its place."""
    for programme in rt.settings.programmes:
        for place, rules in programme.conditions:
            try:
                parsed(rt, rules)
            except RuleError as error:
                field = f"programmes.{place}.when"
                raise InvalidInput(
                    f"programme {shown(programme.name)}: {error}", field=field
                ) from error


def fits(
    uow: UnitOfWork, rt: Runtime, rules: Mapping[str, Any], customer_id: str, at: datetime
) -> bool:
    """Whether a customer fits a rule at an instant."""
    rule = asking.asked(parsed(rt, rules), asking.by_name(uow), rt)
    customer = rt.customer(uow, customer_id)
    return bool(asking.fits(uow, rt, {"": rule}, customer, When(at, at >= rt.now())))
