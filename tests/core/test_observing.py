"""Events, the observer that logs them, and what a running job knows of its run."""

from __future__ import annotations

import logging
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from anysched import events
from anysched.context import RunContext, current_run, set_current_run
from anysched.errors import InvalidOption, NotInRun
from anysched.events import AttemptFailed, Event, NodeWasLost, Observer, RunGaveUp, RunStarted, RunSucceeded
from anysched.observability import LoggingObserver
from anysched.run import AttemptError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN: dict[str, Any] = {"at": NOON, "run_id": "r1", "job": "mail", "attempt": 2}
OOPS = AttemptError("builtins.ValueError", "oops\nsecond line", "long\ntraceback")


# --- events ------------------------------------------------------------------------------------------------------


def all_kinds() -> list[type[Event]]:
    kinds = [getattr(events, name) for name in events.__all__]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event]


def any_event(kind: type[Event]) -> Event:
    """One with something in each field."""
    values: dict[str, Any] = {
        "at": NOON,
        "run_id": "r",
        "job": "j",
        "entry_id": "e",
        "node": "n",
        "attempt": 1,
        "count": 3,
        "created": True,
        "error": OOPS,
        "scheduled_for": NOON,
        "reason": "because",
        "record": "run r",
        "duration": timedelta(seconds=1.5),
        "retry_in": timedelta(seconds=2),
        "delay": timedelta(minutes=1),
    }
    return kind(**{name: values[name] for name in kind.__struct_fields__})


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
def test_events_are_frozen(kind: type[Event]) -> None:
    """And compare by value."""
    event = any_event(kind)

    assert event == any_event(kind)

    with pytest.raises(AttributeError):
        event.at = NOON


# --- the log -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
def test_each_event_is_one_line(kind: type[Event], caplog: pytest.LogCaptureFixture) -> None:
    """With the record itself attached; every kind has words of its own."""
    caplog.set_level(1, "anysched")
    observer = LoggingObserver()
    observer.on_event(any_event(kind))
    (record,) = caplog.records

    assert isinstance(observer, Observer)
    assert "anysched" == record.name
    assert any_event(kind) == record.event  # type: ignore[attr-defined] - an extra
    assert kind.__name__ not in record.getMessage()
    assert 1 == len(record.getMessage().splitlines())


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (RunStarted(**RUN), "DEBUG", "run r1 of job mail starts, attempt 2"),
        (
            RunSucceeded(**RUN, duration=timedelta(seconds=1.5)),
            "INFO",
            "run r1 of job mail succeeded at attempt 2 in 1.5s",
        ),
        (
            AttemptFailed(**RUN, error=OOPS, retry_in=timedelta(seconds=4)),
            "WARNING",
            "run r1 of job mail failed at attempt 2, again in 4s: ValueError: oops\\nsecond line",
        ),
        (
            RunGaveUp(**RUN, error=OOPS),
            "ERROR",
            "run r1 of job mail failed for good at attempt 2: ValueError: oops\\nsecond line",
        ),
        (NodeWasLost(at=NOON, node="n-1"), "WARNING", "node n-1 was lost, its runs go to others"),
    ],
)
def test_lines_and_levels(event: Event, level: str, line: str, caplog: pytest.LogCaptureFixture) -> None:
    """Failures are louder than successes."""
    caplog.set_level(1, "anysched")
    LoggingObserver().on_event(event)

    assert [("anysched", getattr(logging, level), line)] == caplog.record_tuples


class Unspeakable(AttemptError):
    def __str__(self) -> str:
        raise AssertionError


def test_nothing_is_put_together_for_a_line_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    """A level that is off costs a look at it."""
    caplog.set_level(logging.CRITICAL, "anysched")
    LoggingObserver().on_event(RunGaveUp(**RUN, error=Unspeakable("x")))

    assert [] == caplog.records


def test_logger_and_levels_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    """One by one; the rest stay."""
    caplog.set_level(1, "mine")
    observer = LoggingObserver(logging.getLogger("mine"), levels={RunStarted: logging.INFO})
    observer.on_event(RunStarted(**RUN))
    observer.on_event(NodeWasLost(at=NOON, node="n"))

    assert [("mine", logging.INFO), ("mine", logging.WARNING)] == [record[:2] for record in caplog.record_tuples]


def test_a_kind_of_event_that_is_not_known_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """Under its name."""

    class Surprise(Event, frozen=True, kw_only=True):
        """Somebody else's."""

    caplog.set_level(1, "anysched")
    LoggingObserver().on_event(Surprise(at=NOON))

    assert [("anysched", logging.INFO, "Surprise")] == caplog.record_tuples


# --- the context of a run ----------------------------------------------------------------------------------------


def context_with(progress: list[tuple[float, str]], **more: Any) -> RunContext:
    async def set_progress(fraction: float, message: str) -> None:
        progress.append((fraction, message))

    return RunContext(id="r", job="j", attempt=1, shutting_down=anyio.Event(), progress_setter=set_progress, **more)


async def test_a_run_reports_its_progress() -> None:
    """A long message is cut."""
    progress: list[tuple[float, str]] = []
    context = context_with(progress)
    await context.set_progress(0.4, "uploading")
    await context.set_progress(1)
    await context.set_progress(True - 0.5, "x" * 1000)

    assert [(0.4, "uploading"), (1.0, ""), (0.5, "x" * 500)] == progress


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), "0.5", None, True])
async def test_a_fraction_that_cannot_be_is_refused(fraction: Any) -> None:
    """And nothing is stored."""
    progress: list[tuple[float, str]] = []

    with pytest.raises(InvalidOption, match=r"invalid fraction .*: expected a number from 0 to 1"):
        await context_with(progress).set_progress(fraction)

    assert [] == progress


async def test_a_plain_function_reports_its_progress_without_waiting() -> None:
    """An async one cannot do it that way, and is told so."""
    progress: list[tuple[float, str]] = []
    context_with([], progress_reporter=lambda *said: progress.append(said)).report_progress(0.5, "half")

    assert [(0.5, "half")] == progress

    with pytest.raises(InvalidOption, match=r"an async function awaits set_progress\(\)"):
        context_with([]).report_progress(0.5)


async def test_the_current_run_is_known_in_its_own_context() -> None:
    """And nowhere else."""
    with pytest.raises(NotInRun, match="there is no current run here") as caught:
        current_run()

    assert isinstance(caught.value, LookupError)

    context = context_with([])
    apart = copy_context()
    apart.run(set_current_run, lambda: context)

    assert context is apart.run(current_run)

    with pytest.raises(NotInRun):
        current_run()
