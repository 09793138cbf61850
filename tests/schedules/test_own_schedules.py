"""Schedules of classes of one's own: how their text leads back to them, and what cannot be stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from attrs import frozen

from anysched.blueprint import Blueprint
from anysched.entry import EntryPolicy, EntrySpec, plan_fire
from anysched.errors import CannotDecode, InvalidOption, InvalidSchedule
from anysched.registry import Registry
from anysched.schedules import Cron, Every, Schedule, base, parse_schedule, parse_stored

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOME = Registry()


@HOME.job
def work() -> None: ...


@frozen
class Step(Schedule):
    """A fire so many seconds after any instant."""

    scheme = "test-step"
    seconds: int

    def next_after(self, instant: datetime) -> datetime | None:
        return instant + timedelta(seconds=self.seconds)

    def to_text(self) -> str:
        return f"{self.scheme}:{self.seconds}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(int(text.removeprefix("test-step:")))


def test_the_text_of_a_class_with_a_scheme_leads_back_to_it() -> None:
    """By what is stored, and as what a user writes; attrs' slots are no second class."""
    step = Step(10)

    assert [step, step] == [parse_stored(step.to_text()), parse_schedule("test-step:10")]
    assert [Step] == [type(one) for one in (parse_stored("test-step:1"),)]
    spec = EntrySpec.of(step, work.bind(), EntryPolicy())
    assert spec == EntrySpec.from_text(spec.to_text())
    assert NOON + timedelta(seconds=10) == plan_fire(spec, entry_id="e", cursor=NOON, now=NOON, run_count=0).next_at


@pytest.mark.parametrize("home", [Registry, Blueprint])
def test_any_schedule_can_be_declared(home: type[Registry]) -> None:
    """As an object, or as text, which takes the zone of the scheduler."""
    registry = home()
    job = registry.job(name="work")(work.function)
    registry.schedule(Step(10), id="own", limit=3)(job)
    registry.schedule("test-step:20", id="text")(job)
    registry.schedule("@every 5s", id="every")(job)
    registry.schedule("0 8 * * *", id="cron")(job)

    assert [Step(10), Step(20), Every("5s"), Cron("0 8 * * *")] == [
        one.spec.schedule for one in registry.declarations()
    ]
    assert 3 == registry.declarations()[0].spec.policy.limit


# --- what cannot be stored -------------------------------------------------------------------------------------------


@frozen
class Nameless(Step):
    """It has no scheme of its own, and its text is another class's."""


@frozen
class Silent(Schedule):
    """It has no scheme at all."""

    def next_after(self, instant: datetime) -> datetime | None:
        return None

    def to_text(self) -> str:
        return "mine"


@frozen
class OneWay(Silent):
    """Nothing reads its text."""

    scheme = "test-one-way"

    def to_text(self) -> str:
        return "test-one-way:"


@frozen
class Forgetful(OneWay):
    """What is read is not what was written."""

    scheme = "test-forgetful"
    number: int = 0

    def to_text(self) -> str:
        return "test-forgetful:"

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(7)


@frozen
class Broken(Silent):
    """It raises."""

    scheme = "test-broken"

    def to_text(self) -> str:
        raise RuntimeError("no text today")


@frozen
class Absent(OneWay):
    """It reads nothing."""

    scheme = "test-absent"

    def to_text(self) -> str:
        return "test-absent:"

    @classmethod
    def from_text(cls, text: str) -> Any:
        return None


@frozen
class Wordless(Silent):
    """Its text is none."""

    scheme = "test-wordless"

    def to_text(self) -> Any:
        return 5


class Other(Every):
    """A period, to whoever reads it."""


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (Nameless(5), "leads back to an equal schedule .* and not to Step"),
        (Silent(), "leads back .*'mine'"),
        (OneWay(), "a from_text, which OneWay is not"),
        (Forgetful(), "leads back .* and not to Forgetful"),
        (Broken(), "no text today"),
        (Absent(), "a schedule from Absent, not None"),
        (Wordless(), "gives text, not 5"),
        (Other("5s"), "leads back .* and not to Every"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_schedule_whose_text_does_not_lead_back_is_refused(schedule: Schedule, reason: str) -> None:
    """Where it is declared, and where it is described.

    Break: it is stored, and the entry is corrupt, or fires by another rule.
    """
    with pytest.raises(InvalidSchedule, match=reason):
        HOME.schedule(schedule)

    with pytest.raises(InvalidSchedule, match=reason):
        EntrySpec.of(schedule, work.bind(), EntryPolicy())


def test_a_scheme_belongs_to_one_class() -> None:
    """Two would read each other's texts; and it has to be one."""
    with pytest.raises(InvalidOption, match="invalid scheme 'test-step': expected another one, since"):

        class Thief(Silent):
            scheme = "test-step"

    for wrong in ("", "Step", "a:b", "{", 5):
        with pytest.raises(InvalidOption, match=r"invalid scheme .*: expected small letters"):
            type("Wrong", (Silent,), {"scheme": wrong})

    assert Step(1) == parse_stored("test-step:1")


def test_a_class_that_was_not_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of it cannot be read here; a text that a user writes is then taken for a cron expression."""
    text = EntrySpec.of(Step(1234), work.bind(), EntryPolicy()).to_text()
    monkeypatch.delitem(base._classes, "test-step")

    with pytest.raises(CannotDecode, match="the class with the scheme 'test-step' is imported"):
        EntrySpec.from_text(text)

    with pytest.raises(InvalidSchedule):
        parse_schedule("test-step:1")


def test_text_that_its_class_does_not_read_is_invalid() -> None:
    """Whatever the class raises."""
    with pytest.raises(InvalidSchedule, match=r"expected what Step reads .*invalid literal"):
        parse_schedule("test-step:soon")


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_rule_that_does_not_go_forward_is_an_error(seconds: int) -> None:
    """It would be due for ever."""
    spec = EntrySpec(schedule=Step(seconds), job="work")

    with pytest.raises(InvalidSchedule, match=r"invalid next_after .*: expected an instant after 2026-01-01T12:00"):
        plan_fire(spec, entry_id="e", cursor=NOON, now=NOON, run_count=0)
