"""``anysched demo``: what a newcomer sees first."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from signal import SIGINT

import pytest
from rich.console import Console

from anysched.cli.demo_board import Board
from anysched.cli.demo_story import Chronicle, Finding, Story
from anysched.testing import virtual_time


@pytest.mark.slow
def test_it_ends_by_itself(start) -> None:
    """In about 15 seconds, with a summary, exit status 0, and plain lines where there is no terminal."""
    demo = start("demo")

    assert 0 == demo.status()
    assert 8 == demo.output.count("[ok]")
    assert "\x1b" not in demo.output

    for shown in ("cron, six fields", "interval", "retried", "timed out", "progress", "cancelled", "delayed", "limit"):
        assert f"\n  {shown} " in demo.output


def test_it_can_be_interrupted(start) -> None:
    """Ctrl-C ends it at once, with the status that shells expect."""
    demo = start("demo")
    demo.wait_for("render-video starts")
    demo.signal(SIGINT)

    assert 130 == demo.status()
    assert "Traceback" not in demo.output


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_story_is_the_same_in_virtual_time(backend: str) -> None:
    """Each part shows what it was meant to show."""

    async def tell() -> list[Finding]:
        story = Story(Chronicle())
        async with story.scheduler.running():
            return await story.tell()

    findings = virtual_time(tell, backend=backend, start=datetime(2026, 1, 1, tzinfo=UTC))

    assert 8 == len(findings)
    assert [] == [finding for finding in findings if not finding.as_expected]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (40, 10)])
def test_the_board_fits(width: int, height: int) -> None:
    """It shows runs, entries and events in a terminal of any size, and no line is longer than that."""
    printed = io.StringIO()
    board = Board(Console(file=printed, force_terminal=False, width=width, height=height))

    async def draw() -> None:
        story = Story(Chronicle(began=1.0))
        async with story.scheduler.running():
            await story.scheduler.jobs["render-video"].enqueue("a.mp4")
            board.console.print(board.draw(await story.scene()))

    virtual_time(draw, backend="asyncio", start=datetime(2026, 1, 1, tzinfo=UTC))
    lines = printed.getvalue().splitlines()

    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 20)
    assert "render-video"[:5] in printed.getvalue()
