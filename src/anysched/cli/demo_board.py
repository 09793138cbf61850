"""The demo in a terminal: runs, entries and what happens, redrawn in place. Needs ``rich``."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from anysched.cli.demo_story import LENGTH, Finding, Scene
from anysched.clock import now
from anysched.entry import Entry, EntryStatus
from anysched.run import FINAL, RunInfo, RunStatus

__all__ = ["Board"]

_STYLES: Final = {
    "waiting": "dim",
    "scheduled": "cyan",
    "ready": "blue",
    "running": "bold yellow",
    "retrying": "magenta",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "dark_orange",
    "expired": "dim red",
    "fired": "cyan",
    "enqueued": "blue",
}

_MOST_LINES: Final = 7
_FRAMES: Final = 11
"""Lines that the title, the borders, the column heads and the entries take: all but runs and events."""


class Board:
    """A live view."""

    def __init__(self, console: Console | None = None) -> None:
        self.console: Console = console if console is not None else Console()
        self._live: Live | None = None
        self._loop = ""

    @contextmanager
    def opened(self, loop: str) -> Generator[None]:
        """Take the terminal."""
        self._loop = loop

        # It is redrawn by us, in the event loop, and not by a thread of its own.
        with Live(console=self.console, auto_refresh=False, vertical_overflow="crop") as live:
            self._live = live
            yield

        self._live = None

    def show(self, scene: Scene) -> None:
        """Redraw."""
        if self._live is not None:
            self._live.update(self.draw(scene), refresh=True)

    def draw(self, scene: Scene) -> RenderableType:
        """The board, as high as the terminal."""
        room = max(self.console.height - _FRAMES, 8)
        lines = min(_MOST_LINES, room // 3 + 1)
        return Group(
            self._title(scene),
            _framed(_runs(_chosen(scene.runs, room - lines)), "runs"),
            _framed(_entries(scene.entries), "entries"),
            _framed(_events(scene.lines[-lines:], lines), "events"),
        )

    def conclude(self, findings: Sequence[Finding], total: str) -> None:
        """Print the summary below."""
        table = Table(box=SIMPLE_HEAD, title=f"[bold]{total}[/]", title_justify="left", pad_edge=False)

        for name in ("shown", "job", "what came out", ""):
            table.add_column(name)

        for finding in findings:
            verdict = Text("ok", "green") if finding.as_expected else Text("NOT AS EXPECTED", "bold red")
            table.add_row(finding.shows, Text(finding.job, "bold"), Text(finding.found), verdict)

        self.console.print(table)

    def _title(self, scene: Scene) -> RenderableType:
        row = Table.grid(expand=True, padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=LENGTH, completed=min(scene.elapsed, LENGTH), complete_style="cyan")
        row.add_row(
            Text.assemble((" anysched ", "bold reverse cyan"), f" in memory, on {self._loop} "), bar, _seconds(scene)
        )
        return row


def _framed(content: RenderableType, title: str) -> Panel:
    return Panel(
        content, title=f"[bold]{title}[/]", title_align="left", box=ROUNDED, border_style="bright_black", padding=(0, 1)
    )


def _seconds(scene: Scene) -> str:
    return f"{min(scene.elapsed, LENGTH):4.1f} s"


# --- runs ----------------------------------------------------------------------------------------------------------


def _chosen(runs: Sequence[RunInfo], count: int) -> list[RunInfo]:
    """The live ones, then the newest of the others, in the order in which they were asked for."""
    live = [run for run in runs if run.status not in FINAL]
    ended = sorted((run for run in runs if run.status in FINAL), key=lambda run: run.finished_at or run.enqueued_at)
    kept = live[:count] + ended[max(len(ended) - max(count - len(live), 0), 0) :]
    return sorted(kept, key=lambda run: (run.enqueued_at, run.id))


def _runs(runs: Sequence[RunInfo]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True, style="dim")
    table.add_column("job", no_wrap=True)
    table.add_column("status", no_wrap=True, width=11)
    table.add_column("try", justify="right", no_wrap=True)
    table.add_column("progress", width=14)
    table.add_column("", ratio=1, no_wrap=True, style="dim", overflow="ellipsis")

    for run in runs:
        attempt = str(run.attempt) if run.attempt else ""
        status = Text(run.status.value, _STYLES[run.status.value])
        table.add_row(run.id[-6:], Text(run.job, "bold"), status, attempt, _bar(run), _remark(run))

    return table


def _bar(run: RunInfo) -> RenderableType:
    if run.progress is None or run.job == "endless-import":
        pulse = run.status is RunStatus.RUNNING
        return ProgressBar(total=None, pulse=True, pulse_style="yellow") if pulse else ""

    return ProgressBar(total=1.0, completed=run.progress, complete_style="yellow", finished_style="green")


def _remark(run: RunInfo) -> str:
    if run.status in (RunStatus.SCHEDULED, RunStatus.RETRYING) and run.due_at is not None:
        error = f", after {run.error.message}" if run.error is not None else ""
        return f"in {max((run.due_at - now()).total_seconds(), 0):.1f} s{error}"

    if run.status is RunStatus.FAILED and run.error is not None:
        return run.error.message

    if run.status is RunStatus.SUCCEEDED and run.result:
        return f"gave {run.result}"

    return run.unclaimed if run.status is RunStatus.READY else run.progress_message


# --- entries and events --------------------------------------------------------------------------------------------


def _entries(entries: Sequence[Entry]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, show_header=False)
    table.add_column("id", no_wrap=True, style="bold")
    table.add_column("schedule", no_wrap=True, style="dim")
    table.add_column("fired", no_wrap=True)
    table.add_column("next", ratio=1, no_wrap=True, overflow="ellipsis")

    for entry in entries:
        # Since when a period counts interests nobody here.
        schedule = str(entry.schedule).partition(" from ")[0]
        table.add_row(entry.id, schedule, f"fired {entry.run_count} x", _next_of(entry))

    return table


def _next_of(entry: Entry) -> Text:
    if entry.status is EntryStatus.PAUSED:
        return Text(f"paused: {entry.note}", "dark_orange")

    if entry.next_run_at is None:
        return Text("no next fire", "dim")

    return Text(f"next in {max((entry.next_run_at - now()).total_seconds(), 0):.1f} s", "cyan")


def _events(lines: Sequence[tuple[float, str, str]], height: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, show_header=False)
    table.add_column("at", no_wrap=True, style="dim", justify="right")
    table.add_column("text", ratio=1, no_wrap=True, overflow="ellipsis")

    for at, kind, text in lines:
        table.add_row(f"{at:5.2f}", Text(text, _STYLES[kind]))

    for _ in range(height - len(lines)):
        table.add_row("", "")

    return table
