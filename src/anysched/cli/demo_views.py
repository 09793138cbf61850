"""How the demo is shown where there is no terminal, or no ``rich``: a line for each event."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from attrs import define, field

from anysched.cli.demo_story import Finding, Scene

__all__ = ["Lines", "View"]


class View(Protocol):
    """Something that shows the demo."""

    def opened(self, loop: str) -> AbstractContextManager[None]:
        """Around the show; ``loop`` is the event loop's name."""
        ...

    def show(self, scene: Scene) -> None:
        """How things stand now. Called several times a second."""
        ...

    def conclude(self, findings: Sequence[Finding], total: str) -> None:
        """How it all came out. Called after the show."""
        ...


@define(eq=False)
class Lines:
    """Plain lines on standard output."""

    _shown: int = 0
    _quarters: dict[str, int] = field(factory=dict[str, int])

    @contextmanager
    def opened(self, loop: str) -> Generator[None]:
        """Say what is to come."""
        print(f"anysched demo: about 15 seconds, in memory, on {loop}", flush=True)
        yield

    def show(self, scene: Scene) -> None:
        """Print what has happened since the last time."""
        for at, _, text in scene.lines[self._shown :]:
            print(f"{at:6.2f} s  {text}", flush=True)

        self._shown = len(scene.lines)

        for run in scene.runs:
            quarters = int((run.progress or 0) * 4)

            if run.job == "render-video" and quarters > self._quarters.get(run.id, 0):
                self._quarters[run.id] = quarters
                print(f"{scene.elapsed:6.2f} s  {run.job} is at {run.progress:.0%}: {run.progress_message}", flush=True)

    def conclude(self, findings: Sequence[Finding], total: str) -> None:
        """Print the summary."""
        print(f"\n{total}:")

        for finding in findings:
            verdict = "ok" if finding.as_expected else "NOT AS EXPECTED"
            print(f"  {finding.shows:18}{finding.job:16}{finding.found}  [{verdict}]")
