"""Which of a story's variants `make test` runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def others_in_soak_only(values: Iterable[str]) -> list[Any]:
    """The first always, and the others, which differ little from it, in a soak."""
    first, *others = values
    return [first, *(pytest.param(value, marks=pytest.mark.soak_only) for value in others)]
