"""Hints that are refused: told once, made up for by looking, and heard as soon as they may be."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio import TASK_STATUS_IGNORED, current_time
from anyio.abc import TaskStatus

from anysched import BackendRefused, ErrorContext, MemoryBackend, Scheduler, SchedulerConfig
from anysched.backends import Hint


class Forbidding(MemoryBackend):
    """Refuses to be listened to, until it is told to allow it."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = False
        self.asked: list[float] = []

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        self.asked.append(current_time())

        if not self.allowed:
            await anyio.lowlevel.checkpoint()
            raise BackendRefused("no rights on channels")

        await super().listen(inbox, deliver, task_status=task_status)


async def test_a_node_that_is_not_allowed_to_listen_looks_instead() -> None:
    """It starts at once, does what comes within a `tick_interval`, tells of it once, and tries again every ten seconds.

    Break: the refusal ends the node; or each who waits for a result waits for the subscription before each look.
    """
    backend = Forbidding()
    errors: list[tuple[Exception, ErrorContext]] = []
    config = SchedulerConfig(tick_interval="3s", on_error=lambda error, context: errors.append((error, context)))
    scheduler = Scheduler(backend, config=config)

    @scheduler.job
    async def work() -> str:
        return "done"

    async with scheduler.running():
        assert 0 == current_time()

        for _ in range(5):
            began = current_time()
            assert "done" == await (await work.enqueue()).result()
            assert current_time() - began <= 2 * 3

        assert 15 <= current_time()
        assert [0, 10] == [round(at) for at in backend.asked][:2]
        assert [("backend", True)] == [(told.kind, isinstance(error, BackendRefused)) for error, told in errors]
        assert "hints are refused, and made up for by looking every tick_interval: no rights" in str(errors[0][0])

        backend.allowed = True
        await anyio.sleep(10)
        began = current_time()
        assert "done" == await (await work.enqueue()).result()
        assert began == current_time()
        assert 1 == len(errors)
