"""Service groups: tasks that outlive the work they serve.

A cancellation from outside reaches everything below it at once. Work may die of it at once; what the work leans on
(connections, lease renewal, settling) must not, or nothing could be settled or handed back. So services run under a
shield until the body of their group has been left, and then get a limited time to finish.

What always holds:

* A service that is ready is cancelled only after the body was left, or when another service of the group crashed.
* One that is not ready yet is cancelled with whoever starts it: nothing leans on it, and nothing limits its wait.
* Every shield ends: ``grace`` seconds after the body was left at the latest.
* All waiting is done by the services' own tasks. The host awaits nothing under a shield, since on asyncio a native
  ``Task.cancel()`` of the host would pierce it.

The idea is that of tricycle's service nursery.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from anyio import (
    TASK_STATUS_IGNORED,
    CancelScope,
    Event,
    create_task_group,
    current_time,
)
from anyio.abc import TaskGroup, TaskStatus
from attrs import define, field

__all__ = ["Services", "open_services"]


class _Startable(Protocol):
    def __call__(self, *, task_status: TaskStatus[Any]) -> Awaitable[Any]: ...


@define(eq=False)
class Services:
    """The services of one group; made by :func:`open_services`."""

    _group: TaskGroup
    grace: float
    closing: Event = field(factory=Event, init=False)
    """Set as soon as the body has been left. A finishing service then comes to its end by itself."""
    # In the order in which they started, which a set would not keep.
    _finishing: dict[CancelScope, None] = field(factory=dict[CancelScope, None], init=False)
    _others: dict[CancelScope, None] = field(factory=dict[CancelScope, None], init=False)

    async def start(self, service: _Startable, *, finishes: bool = False) -> Any:
        """Start a service and wait until it is ready.

        Args:
            service: called with ``task_status``.
            finishes: it watches ``closing`` and ends by itself; the others are cancelled when all such have ended.

        Returns:
            What the service passed to ``task_status.started()``.
        """
        scope, value = await self._group.start(self._keep, service, finishes)
        # Not before it has come back to whoever starts it: cancelled natively meanwhile, that one waits for its end.
        scope.shield = True
        return value

    def close(self) -> None:
        """The body has been left: let the finishing services finish, within ``grace`` seconds."""
        self.closing.set()
        deadline = current_time() + self.grace

        for scope in self._finishing | self._others:
            scope.deadline = deadline

        self._end_others()

    async def _keep(
        self, service: _Startable, finishes: bool, *, task_status: TaskStatus[Any] = TASK_STATUS_IGNORED
    ) -> None:
        kept = self._finishing if finishes else self._others
        scope = CancelScope()
        kept[scope] = None

        try:
            with scope:
                if self.closing.is_set():
                    scope.cancel(reason="the group is closing")

                await service(task_status=_BringsScope(task_status, scope))
        except BaseException:
            # A sibling must not go on under its shield while the group unwinds because of us.
            for other in self._finishing | self._others:
                other.deadline = min(other.deadline, current_time() + self.grace)

            raise
        finally:
            kept.pop(scope, None)
            self._end_others()

    def _end_others(self) -> None:
        if self.closing.is_set() and not self._finishing:
            for scope in tuple(self._others):
                scope.cancel(reason="the group is closed")


@define(eq=False)
class _BringsScope(TaskStatus[Any]):
    """Passes on that a service is ready, and the scope by which it is shielded."""

    _passed_to: TaskStatus[Any]
    _scope: CancelScope

    def started(self, value: Any = None) -> None:
        self._passed_to.started((self._scope, value))


@asynccontextmanager
async def open_services(*, grace: float) -> AsyncGenerator[Services]:
    """A service group around a body.

    Args:
        grace: seconds that services get to finish once the body has been left.

    Raises:
        BaseExceptionGroup: as every task group does.
    """
    async with create_task_group() as group:
        services = Services(group, grace)

        try:
            yield services
        finally:
            services.close()
