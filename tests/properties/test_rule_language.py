"""Rules mean the same written in Python and in JSON; they can be told, and follow the schema."""

from __future__ import annotations

import json

from hypothesis import given

from crmkit.model.rule import AllOf, AnyOf, Did, Not, Occurs, Rule, Then
from crmkit.segmentation.describe import describe
from crmkit.segmentation.rules import parse
from crmkit.segmentation.schema import json_schema
from crmkit.testing.strategies import SETTINGS, rules
from tests.conditions import Document, Pair, conditions
from tests.schemas import fits

_SCHEMA = json_schema(SETTINGS)


def flat(rule: Rule) -> Rule:
    """The rule with groups in groups of their kind taken apart, as Python writes them."""
    match rule:
        case AllOf(parts) | AnyOf(parts):
            kind = type(rule)
            inner = [flat(part) for part in parts]
            return kind(
                tuple(p for part in inner for p in (part.parts if type(part) is kind else [part]))
            )
        case Not(part):
            return Not(flat(part))
        case Did(what, measure, operator, value, window):
            return Did(flat_occurs(what), measure, operator, value, window)
        case Then(first, second, within, follows, window):
            return Then(flat_occurs(first), flat_occurs(second), within, follows, window)
    return rule


def flat_occurs(what: Occurs) -> Occurs:
    return Occurs(what.kind, None if what.where is None else flat(what.where))


@given(pair=conditions())
def test_python_says_what_json_says(pair: Pair) -> None:
    """The builder's document is plain JSON, and the rule is that of the JSON by hand."""
    said, document = pair
    written = json.loads(json.dumps(said.to_dict()))
    expected = flat(parse(document, SETTINGS))
    assert flat(parse(written, SETTINGS)) == expected
    assert flat(parse(said, SETTINGS)) == expected


@given(pair=conditions())
def test_every_rule_can_be_told(pair: Pair) -> None:
    """No form of the language is without words, and what is absent is not told."""
    told = describe(parse(pair[1], SETTINGS), SETTINGS)
    assert told
    assert "None" not in told
    assert all(line.strip() for line in told.split("\n"))
    assert told.replace("\n", "").isprintable()


@given(pair=conditions(), document=rules())
def test_the_schema_takes_what_is_taken(pair: Pair, document: Document) -> None:
    """A document that can be read fits the published schema."""
    for taken in (pair[1], document):
        parse(taken, SETTINGS)
        assert fits(taken, _SCHEMA)
