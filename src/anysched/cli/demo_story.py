"""What the demo does: a scheduler, its jobs, and what is asked of them, in order of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from anyio import current_time, sleep, sleep_until
from attrs import define, field, frozen

from anysched import (
    AnySchedError,
    Entry,
    Event,
    RetryPolicy,
    Run,
    RunInfo,
    RunStatus,
    Scheduler,
    SchedulerConfig,
    current_run,
)
from anysched.cli.demo_lines import line_of

__all__ = ["Chronicle", "Finding", "Scene", "Story"]

LENGTH: Final = 14.0
"""Seconds that the story takes."""

_THUMBNAILS: Final = 6


@frozen
class Finding:
    """What came out of one part of the story, and whether it is what it was meant to show."""

    shows: str
    job: str
    found: str
    as_expected: bool


@frozen
class Scene:
    """Everything that can be seen at one moment."""

    elapsed: float
    runs: Sequence[RunInfo]
    entries: Sequence[Entry]
    lines: Sequence[tuple[float, str, str]]


@define(eq=False)
class Chronicle:
    """An observer that keeps a line about each event: seconds since the beginning, a word for its colour, the text."""

    began: float = 0.0
    lines: list[tuple[float, str, str]] = field(factory=list["tuple[float, str, str]"])

    def on_event(self, event: Event) -> None:
        """Note it, if it is one that tells something."""
        line = line_of(event)

        if line is not None and self.began:
            self.lines.append((self.elapsed(), *line))

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return current_time() - self.began if self.began else 0.0


class Story:
    """The demo's program.

    Args:
        chronicle: is told of all that happens.
    """

    def __init__(self, chronicle: Chronicle) -> None:
        self.chronicle = chronicle
        # The errors are part of the show: they are told as events, and need no traceback in the log.
        config = SchedulerConfig(on_error=lambda _error, _context: None, shutdown_timeout="3s")
        self.scheduler: Scheduler = Scheduler(config=config, observers=[chronicle])
        self._began = 0.0
        _declare(self.scheduler)

    async def tell(self) -> list[Finding]:
        """Have everything done, and look how each part came out."""
        jobs = self.scheduler.jobs
        self._began = current_time()
        enqueue = partial(_enqueue, jobs)
        flaky, report = await enqueue("call-api"), await enqueue("slow-report")
        video, endless = await enqueue("render-video", "holiday.mp4"), await enqueue("endless-import")
        invoice = await jobs["send-invoice"].options(delay="5s").enqueue("ada@example.org")
        await self._until(3.0)
        photo = jobs["thumbnail"]
        photos = await self.scheduler.enqueue(*(photo.bind(f"photo-{number}.jpg") for number in range(_THUMBNAILS)))
        await self._until(7.0)
        await endless.cancel()
        await self._until(10.0)
        await self.scheduler.pause("sync-inbox", note="the demo is nearly over")

        for run in (flaky, report, video, endless, invoice, *photos):
            with suppress(AnySchedError):
                await run.result()

        await self._until(LENGTH)
        single = {"retried": flaky, "timed out": report, "progress": video, "cancelled": endless, "delayed": invoice}
        infos = {shows: await run.info() for shows, run in single.items()}
        return [
            *[_finding_of_entry(entry) for entry in await self.scheduler.entries()],
            *[_finding(shows, info, _EXPECTED[shows]) for shows, info in infos.items()],
            _finding_of_many([await run.info() for run in photos]),
        ]

    async def scene(self) -> Scene:
        """What can be seen now."""
        runs = await self.scheduler.runs(limit=100)
        entries = await self.scheduler.entries()
        return Scene(self.chronicle.elapsed(), runs, entries, self.chronicle.lines)

    async def _until(self, second: float) -> None:
        await sleep_until(self._began + second)


async def _enqueue(jobs: dict[str, Any], job: str, *args: Any) -> Run[Any]:
    return await jobs[job].enqueue(*args)


# --- jobs ----------------------------------------------------------------------------------------------------------


def _declare(scheduler: Scheduler) -> None:
    no_retries = RetryPolicy(max_retries=0)
    scheduler.cron("*/3 * * * * *", name="heartbeat")(heartbeat)
    scheduler.every("4s", name="sync-inbox")(sync_inbox)
    scheduler.job(name="call-api", retry=RetryPolicy(initial="1s"))(call_api)
    scheduler.job(name="slow-report", timeout="2s", retry=no_retries)(slow_report)
    scheduler.job(name="render-video")(render_video)
    scheduler.job(name="endless-import", retry=no_retries)(endless_import)
    scheduler.job(name="send-invoice")(send_invoice)
    scheduler.job(name="thumbnail", max_concurrent=2)(thumbnail)


async def heartbeat() -> None:
    """Takes a moment."""
    await sleep(0.3)


def sync_inbox() -> int:
    """A plain function: it is called in a thread, where sleeping holds nobody up."""
    time.sleep(1.0)
    return 17


async def call_api() -> str:
    """Fails twice."""
    await sleep(0.4)

    if current_run().attempt < 3:
        message = "503 Service Unavailable"
        raise ConnectionError(message)

    return "200 OK"


async def slow_report() -> None:
    """Takes longer than its time limit."""
    await sleep(60)


async def render_video(name: str) -> str:
    """Reports its progress."""
    for percent in range(0, 101, 4):
        await current_run().set_progress(percent / 100, f"{name}, frame {percent * 24}")
        await sleep(0.32)

    return f"{name}.webm"


async def endless_import() -> None:
    """Goes on until it is cancelled."""
    rows = 0

    while True:
        rows += 137
        await current_run().set_progress(0.5, f"{rows} rows")
        await sleep(0.25)


async def send_invoice(to: str) -> str:
    """Is due later."""
    await sleep(0.5)
    return f"sent to {to}"


async def thumbnail(name: str) -> str:
    """Of these, only two run at once."""
    await sleep(0.8)
    return name


# --- how it came out -----------------------------------------------------------------------------------------------

_EXPECTED: Final[dict[str, Callable[[RunInfo], bool]]] = {
    "retried": lambda info: info.status is RunStatus.SUCCEEDED and info.attempt == 3,
    "timed out": lambda info: info.status is RunStatus.FAILED and info.error is not None,
    "progress": lambda info: info.status is RunStatus.SUCCEEDED and info.progress == 1.0,
    "cancelled": lambda info: info.status is RunStatus.CANCELLED,
    "delayed": lambda info: info.status is RunStatus.SUCCEEDED and _waited(info) >= 5.0,
}

_FIRES: Final = {"heartbeat": 4, "sync-inbox": 2}
"""At least so often, wherever in its period the demo begins."""


def _finding(shows: str, info: RunInfo, as_expected: Callable[[RunInfo], bool]) -> Finding:
    attempt = f" at attempt {info.attempt}" if info.attempt > 1 else ""
    after = f", {_waited(info):.2f} s after it was enqueued" if shows == "delayed" else ""
    after += f", {info.progress:.0%} reported" if shows == "progress" and info.progress is not None else ""
    error = f": {info.error.message}" if info.status is RunStatus.FAILED and info.error is not None else ""
    return Finding(shows, info.job, f"{info.status}{attempt}{after}{error}", as_expected(info))


def _finding_of_entry(entry: Entry) -> Finding:
    shows = "cron, six fields" if entry.job == "heartbeat" else "interval"
    paused = ", then paused" if entry.status == "paused" else ""
    return Finding(shows, entry.job, f"fired {entry.run_count} x{paused}", entry.run_count >= _FIRES[entry.id])


def _finding_of_many(infos: list[RunInfo]) -> Finding:
    done = sum(info.status is RunStatus.SUCCEEDED for info in infos)
    found = f"{done} of {len(infos)} succeeded, never more than 2 at once"
    return Finding("limit", infos[0].job, found, done == len(infos) and _most_at_once(infos) <= 2)


def _most_at_once(infos: list[RunInfo]) -> int:
    spans = [(info.started_at, info.finished_at) for info in infos if info.started_at and info.finished_at]
    return max((sum(begin <= instant < end for begin, end in spans) for instant, _ in spans), default=0)


def _waited(info: RunInfo) -> float:
    return (info.started_at - info.enqueued_at).total_seconds() if info.started_at is not None else 0.0
