"""A run's handle passes on what it is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from anysched.job_types import JobTypes
from anysched.run_handle import Run


class Recorder:
    """A scheduler that answers with what it was asked."""

    def __getattr__(self, name: str) -> Any:
        async def answer(*args: Any, **kwargs: Any) -> Any:
            self.asked = (name, args, kwargs)
            return self.asked

        return answer


async def test_a_handle_passes_on_what_it_is_asked() -> None:
    """With its id, and the types to decode the result by."""
    home: Any = Recorder()
    types = JobTypes("job", len)
    run: Run[Any] = Run("r", "job", home, types)
    later = datetime(2026, 1, 1, tzinfo=UTC)

    assert ("run_status", ("r",), {}) == await run.status()
    assert ("run_info", ("r",), {}) == await run.info()
    assert ("run_result", ("r", types), {}) == await run.result()
    await run.cancel()
    assert ("cancel_run", ("r",), {}) == home.asked
    await run.retry()
    assert ("retry_run", ("r",), {}) == home.asked
    await run.reschedule(at=later)
    assert ("reschedule_run", ("r",), {"at": later, "delay": None}) == home.asked


def test_handles_of_one_run_are_equal() -> None:
    """Wherever they come from."""
    home: Any = Recorder()

    assert Run("r", "job", home) == Run("r", "other", home, JobTypes("job", len))
    assert Run("r", "job", home) != Run("s", "job", home)
    assert 1 == len({Run("r", "job", home), Run("r", "job", home)})
    assert "Run(id='r', job='job')" == repr(Run("r", "job", home))
