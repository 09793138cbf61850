"""``anysched run``: a node in the foreground, until a signal ends it."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterable, Sequence
from functools import partial

import attrs
from anyio import create_task_group

from anysched.backends.memory import MemoryBackend
from anysched.cli.carrying import run_async
from anysched.cli.failures import UsageError
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
    if arguments.only_schedules and arguments.queues:
        raise UsageError("--only-schedules executes nothing: leave out --queue")

    if arguments.time_limit is not None and arguments.crontab is None:
        raise UsageError("--time-limit is for the commands of --crontab: a job has a timeout of its own")

    if arguments.reload:
        from anysched.cli.reloading import supervise

        return run_async(supervise, arguments, loop="asyncio")

    scheduler = _scheduler_of(arguments)
    set_up_logging(verbose=arguments.verbose)

    if arguments.crontab is not None:
        from anysched.cli.crontab_job import declare_crontab

        declare_crontab(scheduler, arguments.crontab, time_limit=arguments.time_limit)

    if arguments.concurrency is not None:
        scheduler.executor = attrs.evolve(scheduler.executor, max_concurrent=arguments.concurrency)

    attach(scheduler)
    queues: list[str] | None = [] if arguments.only_schedules else arguments.queues

    for queue in queues or ():
        check_name("queue", queue)

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


def _scheduler_of(arguments: Namespace) -> Scheduler:
    without_any = arguments.target is None and arguments.backend is None

    if without_any and arguments.crontab is None:
        raise UsageError("say what to run: module:attribute of a Scheduler, or --crontab FILE")

    if arguments.crontab is None and arguments.target is None:
        raise UsageError(
            "--backend alone has no jobs to run: give the module:attribute of a Scheduler, or --crontab FILE"
        )

    if without_any and environment().backend is None:
        # The lines of a crontab need no server, as long as one machine is enough.
        return Scheduler(namespace=arguments.namespace or environment().namespace, config=environment().config)

    return scheduler_of(arguments)


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
