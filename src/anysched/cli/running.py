"""``anysched run``: a node in the foreground, until a signal ends it."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial

import attrs
from anyio import create_task_group

from anysched.backends.memory import MemoryBackend
from anysched.cli.carrying import run_async
from anysched.cli.enqueueing import length_from_text
from anysched.cli.failures import UsageError, reading_words
from anysched.cli.journal import attach, set_up_logging
from anysched.cli.loading import scheduler_of
from anysched.cli.stopping import Stopping
from anysched.config import environment
from anysched.errors import BackendError
from anysched.identifiers import check_name
from anysched.scheduler import Scheduler

__all__ = ["run", "serve"]

_log = logging.getLogger("anysched")


def run(arguments: Namespace) -> int:
    """Carry out ``anysched run``."""
    queues = _queues_of(arguments)
    time_limit = _time_limit_of(arguments)

    if arguments.reload:
        from anysched.cli.reloading import supervise

        return run_async(supervise, arguments, loop="asyncio")

    scheduler = _scheduler_of(arguments)
    set_up_logging(verbose=arguments.verbose)

    if arguments.crontab is not None:
        from anysched.cli.crontab_job import declare_crontab

        declare_crontab(scheduler, arguments.crontab, time_limit=time_limit)

    if arguments.concurrency is not None:
        scheduler.executor = attrs.evolve(scheduler.executor, max_concurrent=arguments.concurrency)

    attach(scheduler)
    serving = partial(serve, scheduler, schedules=not arguments.no_schedules, queues=queues, loop=arguments.loop)
    return run_async(serving, loop=arguments.loop)


async def serve(
    scheduler: Scheduler, *, schedules: bool = True, queues: Sequence[str] | None = None, loop: str = ""
) -> int:
    """Run a scheduler until it is stopped, or told to by signals.

    Args:
        scheduler: what to run.
        schedules: as for :meth:`Scheduler.run`.
        queues: as for :meth:`Scheduler.run`.
        loop: the event loop's name, to be shown.

    Returns:
        The exit status.
    """
    stopping = Stopping(scheduler=scheduler)

    async with create_task_group() as signals:
        await signals.start(stopping.listen)

        with stopping.scope:
            async with create_task_group() as node:
                await node.start(partial(scheduler.run, schedules=schedules, queues=queues))
                stopping.is_up = True
                shown = scheduler.config.queues if queues is None else queues
                _log.info("%s", await _introduction(scheduler, shown, schedules=schedules, loop=loop))

        stopping.done()
        signals.cancel_scope.cancel(reason="the node has stopped")

    _log.info("stopped")
    return stopping.status


def _queues_of(arguments: Namespace) -> list[str] | None:
    if arguments.only_schedules and arguments.queues:
        raise UsageError("--only-schedules executes nothing: leave out --queue")

    with reading_words():
        for queue in arguments.queues or ():
            check_name("queue", queue)

    return [] if arguments.only_schedules else arguments.queues


def _time_limit_of(arguments: Namespace) -> timedelta | None:
    if arguments.time_limit is None:
        return None

    if arguments.crontab is None:
        raise UsageError("--time-limit is for the commands of --crontab: a job has a timeout of its own")

    return length_from_text("time-limit", arguments.time_limit, least=timedelta(milliseconds=1))


def _scheduler_of(arguments: Namespace) -> Scheduler:
    without_any = arguments.target is None and arguments.backend is None

    if without_any and arguments.crontab is None:
        raise UsageError("say what to run: module:attribute of a Scheduler, or --crontab FILE")

    if arguments.crontab is None and arguments.target is None:
        raise UsageError(
            "--backend alone has no jobs to run: give the module:attribute of a Scheduler, or --crontab FILE"
        )

    return _local_scheduler(arguments.namespace) if without_any else scheduler_of(arguments)


def _local_scheduler(namespace: str | None) -> Scheduler:
    """For the lines of a crontab: they need no server, as long as one machine is enough."""
    with reading_words():
        found = environment()
        namespace = namespace if namespace is not None else found.namespace
        return Scheduler(found.backend, namespace=namespace, config=found.config)


async def _introduction(scheduler: Scheduler, queues: Iterable[str], *, schedules: bool, loop: str) -> str:
    """One line that says what runs where."""
    names = ", ".join(queues)
    entries = len(scheduler.declarations()) if schedules else "not fired here"
    return (
        f"node {scheduler.statistics().node} runs on {await _place(scheduler)}, loop {loop}; "
        f"queues: {names or 'none'}; jobs: {len(scheduler.jobs)}; entries: {entries}; "
        f"at once: {scheduler.executor.max_concurrent}"
    )


async def _place(scheduler: Scheduler) -> str:
    if isinstance(scheduler.backend, MemoryBackend):
        return "this process's memory"

    try:
        report = await scheduler.backend.report()
    except BackendError as error:
        return f"a backend that does not say what it is ({error})"

    return f"{report.address} ({report.product} {report.version}), namespace {scheduler.namespace}"
