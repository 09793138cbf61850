"""``anysched demo``: fifteen seconds of real work in this process's memory, shown as it happens."""

from __future__ import annotations

import sys
from argparse import Namespace
from functools import partial
from importlib.util import find_spec
from signal import SIGINT, SIGTERM

from anyio import (
    TASK_STATUS_IGNORED,
    CancelScope,
    create_task_group,
    current_time,
    open_signal_receiver,
    sleep,
)
from anyio.abc import TaskStatus

from anysched.cli.carrying import run_async
from anysched.cli.demo_story import Chronicle, Finding, Story
from anysched.cli.demo_views import Lines, View

__all__ = ["demo"]

_REFRESH = 0.1
_SIGNALLED = 128


def demo(arguments: Namespace) -> int:
    """Carry out ``anysched demo``."""
    return run_async(partial(_show, _view(arguments.plain), arguments.loop), loop=arguments.loop)


def _view(plain: bool) -> View:
    if plain or not sys.stdout.isatty() or find_spec("rich") is None:
        return Lines()

    from anysched.cli.demo_board import Board

    return Board()


async def _show(view: View, loop: str) -> int:
    """Tell the story and show it; the exit status says whether everything came out as it should."""
    chronicle = Chronicle()
    story = Story(chronicle)
    status = 0
    signals: list[int] = []

    async with create_task_group() as group:
        with CancelScope() as scope:
            await group.start(_until_signal, scope, signals)  # noqa: ASYNC111 - it ends with the scope, as it is meant to

            with view.opened(loop):
                findings = await _tell(story, view)

            status = _sum_up(view, findings, chronicle)

        group.cancel_scope.cancel(reason="the story has been told")

    return _SIGNALLED + signals[0] if signals else status


async def _tell(story: Story, view: View) -> list[Finding]:
    findings: list[Finding] = []

    async with story.scheduler.running(), create_task_group() as showing:
        story.chronicle.began = current_time()
        showing.start_soon(_refresh, story, view)
        findings = await story.tell()
        showing.cancel_scope.cancel(reason="the story has been told")

    await _look(story, view)
    return findings


async def _refresh(story: Story, view: View) -> None:
    while True:
        await _look(story, view)
        await sleep(_REFRESH)


async def _look(story: Story, view: View) -> None:
    async with story.scheduler:
        view.show(await story.scene())


async def _until_signal(
    scope: CancelScope, signals: list[int], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
) -> None:
    with open_signal_receiver(SIGINT, SIGTERM) as received:
        task_status.started()

        async for signal in received:
            signals.append(signal)
            scope.cancel(reason=signal.name)


def _sum_up(view: View, findings: list[Finding], chronicle: Chronicle) -> int:
    view.conclude(findings, f"{chronicle.elapsed():.0f} seconds, {len(chronicle.lines)} events")
    return 0 if all(finding.as_expected for finding in findings) else 1
