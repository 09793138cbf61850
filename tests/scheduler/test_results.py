"""Work goes in and results come out: what a caller sees of runs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import anyio
import attrs
import pytest

from anysched import (
    AnySchedError,
    Backend,
    CannotDecode,
    CannotEncode,
    ErrorContext,
    InvalidArguments,
    InvalidOption,
    NaiveDatetime,
    PayloadTooLarge,
    RetryPolicy,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunStatus,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.testing import sleep_until_instant

START = datetime(2026, 1, 1, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float


@attrs.frozen
class Order:
    id: UUID
    lines: list[tuple[str, Decimal]]
    placed: datetime
    colour: Colour = Colour.RED


ORDER = Order(UUID(int=7), [("tea", Decimal("1.10"))], datetime(2026, 3, 1, 12, tzinfo=UTC))


async def as_order(value: Order) -> Order:
    return value


async def as_mapping(value: dict[str, list[int]]) -> dict[str, list[int]]:
    return value


async def as_point(value: Point) -> Point:
    return value


async def as_span(value: tuple[date, timedelta]) -> tuple[date, timedelta]:
    return value


async def as_set(value: set[int]) -> set[int]:
    return value


async def as_bytes(value: bytes) -> bytes:
    return value


async def as_optional(value: int | None) -> int | None:
    return value


async def as_text(value: str) -> str:
    return value


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (as_order, ORDER),
        (as_mapping, {"a": [1, 2], "": []}),
        (as_point, Point(1, 2.5)),
        (as_span, (date(2026, 1, 1), timedelta(seconds=90))),
        (as_set, {1, 2, 3}),
        (as_bytes, b"\x00\xff"),
        (as_optional, None),
        (as_optional, 0),
        (as_text, ""),
        (as_text, "snö\U0001f600\n"),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)[:20]),
)
async def test_arguments_and_results_come_back_as_what_they_were(function: Callable[..., Any], value: Any) -> None:
    """What goes in comes out, of the same type, through storage and back."""
    scheduler = Scheduler()
    job = scheduler.job(function)

    async with scheduler.running():
        result = await (await job.enqueue(value)).result()

    assert value == result
    assert type(value) is type(result)


async def test_a_job_is_still_the_function_that_it_was_made_of() -> None:
    """Calling it calls the function, without a scheduler that runs."""
    scheduler = Scheduler()

    @scheduler.job
    async def double(value: int) -> int:
        return 2 * value

    @scheduler.job
    def triple(value: int) -> int:
        return 3 * value

    assert [8, 12] == [await double(4), triple(4)]


async def test_many_are_enqueued_in_one_step_and_in_order() -> None:
    """`scheduler.enqueue` takes different jobs, and gives their handles in the order of the calls, however many."""
    scheduler = Scheduler()

    @scheduler.job
    async def double(value: int) -> int:
        return 2 * value

    @scheduler.job
    async def greet(name: str) -> str:
        return f"hello {name}"

    async with scheduler.running():
        bounds = [double.bind(number) for number in range(2500)]
        runs = await scheduler.enqueue(*bounds, greet.bind("Ada"))
        assert [*range(0, 5000, 2), "hello Ada"] == [await run.result() for run in runs]
        assert [] == await scheduler.enqueue()

        totals = await scheduler.totals()
        assert (2501, 0, 0) == (totals.succeeded, totals.running, totals.ready)


async def test_info_tells_everything_about_a_run() -> None:
    """Times are the backend's, exact; each attempt is there, and nothing is left of what was only on the way."""
    scheduler = Scheduler()

    @scheduler.job(queue="default", name="work", retry=RetryPolicy(max_retries=1, initial="10s"))
    async def work(seconds: float) -> str:
        await anyio.sleep(seconds)

        if current_run().attempt == 1:
            raise ValueError("first")

        return "done"

    async with scheduler.running():
        run = await work.options(priority=5, metadata={"tenant": "t1"}, delay="2s").enqueue(3)
        assert (RunStatus.SCHEDULED, 0, None) == _brief(await run.info())
        await sleep_until_instant(START + timedelta(seconds=4))
        assert (RunStatus.RUNNING, 1, None) == _brief(await run.info())
        await sleep_until_instant(START + timedelta(seconds=6))
        assert (RunStatus.RETRYING, 1, "ValueError: first") == _brief(await run.info())
        assert "done" == await run.result()
        info = await run.info()

    at = [int((one - START).total_seconds()) for one in _instants(info)]
    assert [0, 15, 15, 18] == at
    assert ("work", "default", 5, 2, {"tenant": "t1"}) == (
        info.job,
        info.queue,
        info.priority,
        info.attempt,
        info.metadata,
    )
    assert [(1, 2, 5, "first"), (2, 15, 18, None)] == [
        (
            one.number,
            int((one.started_at - START).total_seconds()),
            int((one.ended_at - START).total_seconds()) if one.ended_at else None,
            one.error.message if one.error else None,
        )
        for one in info.attempts
    ]
    assert timedelta(seconds=3) == info.duration
    assert info.fencing_token > 0


def _brief(info: Any) -> tuple[RunStatus, int, str | None]:
    return info.status, info.attempt, str(info.error) if info.error else None


def _instants(info: Any) -> list[datetime]:
    return [info.enqueued_at, info.due_at, info.started_at, info.finished_at]


async def test_a_result_is_there_for_many_who_wait_and_for_who_comes_late() -> None:
    """Ten wait before it is done, one asks a minute after."""
    scheduler = Scheduler()
    got: list[str] = []

    @scheduler.job
    async def slow() -> str:
        await anyio.sleep(30)
        return "done"

    async with scheduler.running():
        run = await slow.enqueue()

        async def wait() -> None:
            got.append(await run.result())

        async with anyio.create_task_group() as waiting:
            for _ in range(10):
                waiting.start_soon(wait)

        await anyio.sleep(60)
        await wait()
        assert run == await scheduler.get_run(run.id)
        assert "done" == await (await scheduler.get_run(run.id)).result()

    assert ["done"] * 11 == got


async def test_a_stranger_gets_the_result_as_json_has_it(anysched_backend: Backend) -> None:
    """A process that does not know the job decodes what was stored as plain JSON.

    Break: it gets the stored text, an empty one in place of None.
    """
    scheduler, stranger = Scheduler(anysched_backend), Scheduler(anysched_backend)
    found: list[Any] = []

    @scheduler.job
    async def give(value: dict[str, Any] | None) -> Any:
        return value and value["it"]

    async with scheduler.running(), stranger:
        for value in (None, {"it": "hello"}, {"it": [1, 2.5, {"a": None}]}, {"it": ""}):
            run = await give.enqueue(value)
            assert (value and value["it"]) == await run.result()
            found.append(await (await stranger.get_run(run.id)).result())

    assert [None, "hello", [1, 2.5, {"a": None}], ""] == found


async def test_a_plain_wrapper_around_an_async_function_is_awaited(anysched_backend: Backend) -> None:
    """In the loop, with its run; also where it is a static method. It can be cancelled there.

    Break: a coroutine is what the job returns, which cannot be stored, and nothing was done.
    """
    scheduler = Scheduler(anysched_backend, config=SchedulerConfig(on_error=lambda error, context: None))
    begun = anyio.Event()

    async def double(value: int) -> tuple[int, str]:
        await anyio.lowlevel.checkpoint()
        return 2 * value, current_run().job

    async def stay() -> None:
        begun.set()
        await anyio.sleep_forever()

    @functools.wraps(double)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return double(*args, **kwargs)

    @functools.wraps(stay)
    def staying() -> Any:
        return stay()

    jobs: list[Any] = [scheduler.job(name="wrapped")(wrapped), scheduler.job(name="static")(staticmethod(double))]
    stays: Any = scheduler.job(name="stays")(staying)

    async with scheduler.running():
        for job in jobs:
            assert (4, job.name) == await (await job.enqueue(2)).result()

        run = await stays.enqueue()
        await begun.wait()
        await run.cancel()

        with pytest.raises(RunCancelled):
            await run.result()


async def test_waiting_for_a_result_can_be_given_up() -> None:
    """A time limit around `result` ends the wait, and leaves the run alone."""
    scheduler = Scheduler()

    @scheduler.job
    async def slow() -> str:
        await anyio.sleep(30)
        return "done"

    async with scheduler.running():
        run = await slow.enqueue()

        with anyio.move_on_after(1) as scope:
            await run.result()

        assert scope.cancelled_caught
        assert "done" == await run.result()


async def test_a_run_is_forgotten_after_its_result_ttl() -> None:
    """By the run's own, else its job's, else the configuration's; then there is none of that id."""
    scheduler = Scheduler(config=SchedulerConfig(result_ttl="2h"))

    @scheduler.job(result_ttl="1h")
    async def short() -> int:
        return 1

    @scheduler.job
    async def plain() -> int:
        return 2

    async with scheduler.running():
        runs = [await short.options(result_ttl="10m").enqueue(), await short.enqueue(), await plain.enqueue()]
        assert [1, 1, 2] == [await run.result() for run in runs]
        kept: list[int] = []

        for minutes in (9, 11, 61, 121):
            await sleep_until_instant(START + timedelta(minutes=minutes))
            found = 0

            for run in runs:
                try:
                    await run.info()
                    found += 1
                except RunNotFound:
                    pass

            kept.append(found)

        assert [3, 2, 1, 0] == kept

        with pytest.raises(RunNotFound):
            await runs[0].result()


async def test_each_of_many_enqueued_at_once_is_kept_for_its_own_time() -> None:
    """Also one that the backend itself ends: it knows how long from what came with the run.

    Break: taking the first one's time for all of its job keeps the second as short as the first.
    """
    scheduler = Scheduler(config=SchedulerConfig(result_ttl="2h"))

    @scheduler.job(result_ttl="1h")
    async def work() -> None: ...

    @scheduler.job
    async def plain() -> None: ...

    short, long = work.options(result_ttl="10m"), work.options(result_ttl="30m")

    async with scheduler:
        bounds = short.bind(), long.bind(), long.bind(), work.bind(), plain.bind(), short.bind()
        runs = await scheduler.enqueue(*bounds)

        for run in runs:
            await run.cancel()

        kept: list[list[bool]] = []

        for minutes in (9, 11, 31, 61, 121):
            await sleep_until_instant(START + timedelta(minutes=minutes))
            kept.append([record is not None for record in await scheduler.backend.get_runs([run.id for run in runs])])

    assert [
        [True, True, True, True, True, True],
        [False, True, True, True, True, False],
        [False, False, False, True, True, False],
        [False, False, False, False, True, False],
        [False, False, False, False, False, False],
    ] == kept


async def test_what_cannot_be_enqueued_fails_in_the_caller_and_nothing_is_stored() -> None:
    """Wrong or unencodable arguments, too large ones, options that cannot be: named at the door."""
    scheduler = Scheduler(config=SchedulerConfig(max_payload=100))

    @scheduler.job
    async def greet(name: str) -> None: ...

    @scheduler.job
    async def anything(value: object) -> None: ...

    async with scheduler:
        for error, attempt in (
            (InvalidArguments, lambda: greet.enqueue(7)),
            (InvalidArguments, lambda: greet.enqueue("a", "b")),
            (CannotEncode, lambda: anything.enqueue(threading.Lock())),
            (PayloadTooLarge, lambda: greet.enqueue("x" * 101)),
            (PayloadTooLarge, lambda: greet.options(metadata={"note": "x" * 101}).enqueue("x")),
        ):
            with pytest.raises(error):
                await attempt()

        with pytest.raises(NaiveDatetime):
            greet.options(at=datetime(2026, 1, 1))

        for options in ({"delay": -1}, {"priority": 101}, {"queue": "a b"}, {"nonsense": 1}, {"delay": 1, "at": START}):
            with pytest.raises((InvalidOption, ValueError)):
                greet.options(**options)

        with pytest.raises(PayloadTooLarge):
            await scheduler.enqueue(greet.bind("fine"), greet.bind("x" * 101))

        with pytest.raises(InvalidOption, match=r"job\.bind"):
            await scheduler.enqueue(greet)

        totals = await scheduler.totals()
        assert (0, 0) == (totals.ready, totals.scheduled)


async def test_what_cannot_be_enqueued_is_told_to_the_error_handler() -> None:
    """Each once, with the job that was asked for; while the scheduler is open, since nobody answers for it before.

    Break: only the caller knows, who may be one of many.
    """
    told: list[tuple[str, str, str | None]] = []

    async def on_error(error: Exception, context: ErrorContext) -> None:
        told.append((type(error).__name__, context.kind, context.job))

    scheduler = Scheduler(config=SchedulerConfig(on_error=on_error, max_payload=100))
    send, other = scheduler.job(name="send")(as_text), scheduler.job(name="other")(as_bytes)
    anything: Any = send
    calls: list[Callable[[], Any]] = [
        lambda: anything.enqueue(5),
        lambda: anything.options(key="k").enqueue(object()),
        anything.enqueue,
        lambda: send.enqueue("x" * 200),
        lambda: scheduler.enqueue(other.bind(b"x"), send.bind("x" * 200)),
        lambda: scheduler.enqueue(anything),
        lambda: scheduler.enqueue(send.bind("x"), send.options(run_id="taken").bind("x")),
    ]

    with pytest.raises(InvalidArguments):
        await anything.enqueue(5)

    async with scheduler:
        await other.options(run_id="taken").enqueue(b"")

        for call in calls:
            with pytest.raises(AnySchedError):
                await call()

    assert [
        ("InvalidArguments", "enqueue", "send"),
        ("CannotEncode", "enqueue", "send"),
        ("InvalidArguments", "enqueue", "send"),
        ("PayloadTooLarge", "enqueue", "send"),
        ("PayloadTooLarge", "enqueue", "send"),
        ("InvalidOption", "enqueue", None),
        ("RunExists", "enqueue", "send"),
    ] == told


async def test_a_stored_argument_that_no_longer_fits_fails_that_run_alone() -> None:
    """The function has changed since: the run fails and says so, and the next one works."""
    scheduler = Scheduler()

    @scheduler.job(name="work", retry=RetryPolicy(max_retries=0))
    async def old(value: str) -> None: ...

    async with scheduler:
        stale = await old.enqueue("text")
        newer = Scheduler(scheduler.backend)

        @newer.job(name="work", retry=RetryPolicy(max_retries=0))
        async def new(value: int) -> int:
            return value

        async with newer.running():
            with pytest.raises(RunFailed, match="cannot be decoded"):
                await stale.result()

            assert 5 == await (await new.enqueue(5)).result()


async def test_a_result_that_does_not_fit_its_annotation_is_told_to_who_asks() -> None:
    """The run has succeeded; decoding what it returned is what fails."""
    scheduler = Scheduler()

    @scheduler.job
    async def liar() -> int:
        return "text"

    async with scheduler.running():
        run = await liar.enqueue()

        with pytest.raises(CannotDecode):
            await run.result()

        assert RunStatus.SUCCEEDED == await run.status()
