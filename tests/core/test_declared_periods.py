"""Periods that are declared in parts, as ``Every`` takes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anysched.blueprint import Blueprint
from anysched.errors import InvalidDuration, InvalidOption
from anysched.registry import Registry
from anysched.schedules import Every

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def tidy() -> None: ...
async def look() -> None: ...


def test_a_period_can_be_declared_in_parts() -> None:
    """By a blueprint as well, beside all other options."""
    registry, blueprint = Registry(), Blueprint("part")
    registry.every(minutes=15, seconds=0.5, queue="mail")(tidy)
    blueprint.every(weeks=1, days=1, hours=1, milliseconds=1, anchor=NOON)(look)
    registry.include(blueprint)

    assert [Every("15m0.5s"), Every(timedelta(days=8, hours=1, milliseconds=1), anchor=NOON)] == [
        declared.spec.schedule for declared in registry.declarations()
    ]
    assert "mail" == registry.jobs["tidy"].queue


@pytest.mark.parametrize(
    ("args", "options", "error", "complaint"),
    [
        ((Every(1),), {"minutes": 1}, InvalidOption, "invalid minutes 1: expected None beside an Every"),
        (("1s",), {"minutes": 1}, InvalidDuration, "invalid period '1s': expected one value or keywords"),
        ((), {}, InvalidDuration, "invalid period None"),
        ((), {"minutes": "1"}, InvalidDuration, "invalid minutes '1': expected a finite number"),
        ((), {"minutes": 0}, InvalidDuration, "invalid period None"),
        ((), {"minute": 1}, InvalidOption, "invalid option 'minute'"),
    ],
)
def test_a_period_is_given_in_one_form(args: Any, options: Any, error: type[Exception], complaint: str) -> None:
    """Neither twice nor not at all."""
    with pytest.raises(error) as caught:
        Registry().every(*args, **options)

    assert complaint in str(caught.value)
