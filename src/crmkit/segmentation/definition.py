"""A segment that may be installed: a name, what it means, and its rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class SegmentDefinition:
    """A segment before it is made: `crm.segments.install` takes any number of them."""

    name: str
    description: str
    rules: Mapping[str, Any] = attrs.field(repr=False)  # may compare with somebody's e-mail
