"""``anysched check``: is everything in place? One line with a verdict for each thing looked at."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Literal

from anyio import fail_after
from attrs import frozen

from anysched.backends import ServerReport
from anysched.backends.memory import MemoryBackend
from anysched.cli.carrying import run_async
from anysched.cli.loading import scheduler_of
from anysched.cli.records import CHECK_FIELDS
from anysched.cli.showing import show_json, show_table
from anysched.clock import now, now_ms
from anysched.config import environment
from anysched.durations import format_duration
from anysched.errors import AnySchedError
from anysched.scheduler import Scheduler

__all__ = ["Verdict", "check", "verdicts"]

_PATIENCE = 10.0
"""Seconds that the connection and each question may take."""

_SLOW_MS = 50.0
_ASKEW_MS = 1_000


@frozen
class Verdict:
    """What was found."""

    check: str
    verdict: Literal["OK", "WARN", "FAIL"]
    message: str


def check(arguments: Namespace) -> int:
    """Carry out ``anysched check``: exit status 1 if anything has failed."""
    found = run_async(verdicts, arguments, loop=arguments.loop)

    if arguments.json:
        show_json([{name: getattr(one, name) for name in CHECK_FIELDS} for one in found])
    else:
        show_table(CHECK_FIELDS, [(one.check, one.verdict, one.message) for one in found], empty="nothing to check")

    return 1 if any(one.verdict == "FAIL" for one in found) else 0


async def verdicts(arguments: Namespace) -> list[Verdict]:
    """Look at everything that the command line names, as far as one can get."""
    found: list[Verdict] = [_verdict("environment", _look_at_environment)]

    try:
        scheduler = scheduler_of(arguments)
    except AnySchedError as error:
        found.append(Verdict("application" if arguments.target else "backend", "FAIL", str(error)))
        return found

    if arguments.target is not None:
        found += _look_at_application(arguments.target, scheduler)

    if isinstance(scheduler.backend, MemoryBackend):
        message = "this process's memory: nothing outlives it, nothing else can reach it"
        return [*found, Verdict("backend", "WARN", message)]

    return found + await _look_at_backend(scheduler, with_jobs=arguments.target is not None)


# --- without a connection ------------------------------------------------------------------------------------------


def _verdict(name: str, look: Callable[[], str]) -> Verdict:
    try:
        return Verdict(name, "OK", look())
    except AnySchedError as error:
        return Verdict(name, "FAIL", str(error))


def _look_at_environment() -> str:
    found = environment()
    return "a backend is set" if found.backend is not None else "no ANYSCHED_BACKEND; what is set is readable"


def _look_at_application(path: str, scheduler: Scheduler) -> Iterator[Verdict]:
    config = scheduler.config
    yield Verdict("application", "OK", f"{path} was imported")
    lengths = ("lease", "tick_interval", "shutdown_timeout")
    shown = ", ".join(f"{name} {format_duration(getattr(config, name))}" for name in lengths)
    yield Verdict("configuration", "OK", f"time zone {config.timezone}, {shown}, queues {', '.join(config.queues)}")
    yield from _look_at_jobs(scheduler)
    yield from _look_at_entries(scheduler)


def _look_at_jobs(scheduler: Scheduler) -> Iterator[Verdict]:
    broken = 0

    for job in scheduler.jobs.values():
        try:
            job.types.check()
        except AnySchedError as error:
            broken += 1
            yield Verdict("jobs", "FAIL", str(error))

    unserved = sorted({job.queue for job in scheduler.jobs.values()} - set(scheduler.config.queues))

    if unserved:
        shown = ", ".join(unserved)
        yield Verdict("queues", "WARN", f"jobs use {shown}, which the configured queues do not have: see run --queue")

    if not scheduler.jobs:
        yield Verdict("jobs", "WARN", "there are none")
    elif not broken:
        yield Verdict("jobs", "OK", f"{len(scheduler.jobs)}: {', '.join(sorted(scheduler.jobs)[:10])}")


def _look_at_entries(scheduler: Scheduler) -> Iterator[Verdict]:
    try:
        declared = scheduler.declarations()
    except AnySchedError as error:
        yield Verdict("entries", "FAIL", str(error))
        return

    at = now()

    for entry in declared:
        if entry.spec.anchored(at).schedule.for_entry(entry.id).next_after(at) is None:
            yield Verdict("entries", "WARN", f"{entry.id} never fires: {entry.spec.schedule}")

    yield Verdict("entries", "OK", f"{len(declared)} declared")


# --- with a connection ---------------------------------------------------------------------------------------------


async def _look_at_backend(scheduler: Scheduler, *, with_jobs: bool) -> list[Verdict]:
    found: list[Verdict] = []

    try:
        with fail_after(_PATIENCE):
            async with scheduler:
                sent_ms = now_ms()
                report = await scheduler.backend.report()
                found += _look_at_server(report, (sent_ms + now_ms()) // 2)
                found += await _look_at_data(scheduler, with_jobs=with_jobs)
    except AnySchedError as error:
        found.append(Verdict("connection", "FAIL", str(error)))
    except TimeoutError:
        found.append(Verdict("connection", "FAIL", f"no answer within {_PATIENCE:g} s"))

    return found


def _look_at_server(report: ServerReport, here_ms: int) -> Iterator[Verdict]:
    yield Verdict("connection", "OK", f"{report.address} answers")
    facts = dict(report.facts)
    policy = facts.pop("eviction policy", "")
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if "clock" not in name)
    yield Verdict("server", "OK", f"{report.product} {report.version}; {said}")

    if policy:
        yield Verdict("eviction", "OK" if policy == "noeviction" else "WARN", policy)

    for warning in report.warnings:
        yield Verdict("server", "WARN", warning)

    slow = report.round_trip_ms > _SLOW_MS
    yield Verdict("round trip", "WARN" if slow else "OK", f"{report.round_trip_ms:.2f} ms")
    askew = report.time_ms - here_ms
    shown = (
        f"the server's is {format_duration(timedelta(milliseconds=abs(askew)))} {'ahead' if askew > 0 else 'behind'}"
    )
    ours = "; the server's is what counts"
    yield Verdict(
        "clocks", "WARN" if abs(askew) > _ASKEW_MS else "OK", shown + (ours if abs(askew) > _ASKEW_MS else "")
    )


async def _look_at_data(scheduler: Scheduler, *, with_jobs: bool) -> list[Verdict]:
    totals, nodes, entries = await scheduler.totals(), await scheduler.nodes(), await scheduler.entries()
    waiting = f"{totals.ready} runs are ready"
    found = [
        Verdict("nodes", "OK", f"{len(nodes)} running; {waiting}")
        if nodes or not totals.ready
        else Verdict("nodes", "WARN", f"none is running, and {waiting}"),
        Verdict("stored", "OK", f"{totals.entries} entries, {totals.failed_kept} failed runs kept"),
    ]

    found += [
        Verdict("orphans", "WARN", f"runs of {job!r} wait for a node that knows it") for job in totals.unknown_jobs
    ]

    if with_jobs:
        strange = sorted({entry.job for entry in entries if entry.job not in scheduler.jobs and not entry.declared})
        found += [Verdict("orphans", "WARN", f"entries have job {job!r}, which is not known here") for job in strange]

    if totals.corrupt:
        found.append(Verdict("corrupt", "WARN", f"{totals.corrupt} stored records cannot be read"))

    if not any(one.check == "orphans" for one in found):
        found.append(Verdict("orphans", "OK", "every stored job is known"))

    return found
