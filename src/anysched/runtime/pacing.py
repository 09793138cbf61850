"""How often to look although nothing was heard, where hearing is certain and nobody's clock can jump.

Looking again every few seconds makes up for lost hints, stepped clocks and dead nodes. Under virtual time, over a
store that no other node uses, there are none of these: a hint is a call, the clock goes where it is told, and there is
no other node. All that the looking does there is to make a year of waiting cost minutes.

Whether there is another node the backend says, also later: as soon as one comes, this one goes on as it was configured.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Protocol, TypeGuard, runtime_checkable

from attrs import define, evolve

from anysched.clock import clock_in_force
from anysched.config import SchedulerConfig

__all__ = ["Pace", "kept_pace"]

_DEFAULT = SchedulerConfig()
_MS = timedelta(milliseconds=1)


@runtime_checkable
class _TellsCompany(Protocol):
    def alone(self, on_company: Callable[[], None], *, lease_ms: int, long_ms: int) -> AbstractContextManager[bool]: ...


@define(eq=False)
class Pace:
    """The settings to run with, now.

    Attributes:
        config: as given; what was left at its default is stretched as long as nothing can be missed.
    """

    config: SchedulerConfig


@contextmanager
def kept_pace(
    config: SchedulerConfig, backend: object, on_change: Callable[[SchedulerConfig], None]
) -> Generator[Pace]:
    """The settings for one node, while it runs.

    Args:
        config: the settings as given.
        backend: what it runs over.
        on_change: called with the settings when they are others from now on.
    """
    pace = Pace(config)

    def company_came() -> None:
        if pace.config is not config:
            pace.config = config
            on_change(config)

    if not clock_in_force.get().virtual or not _tells(backend):
        yield pace
        return

    stretched = _stretched(config)

    with backend.alone(company_came, lease_ms=config.lease // _MS, long_ms=stretched.lease // _MS) as is_alone:
        if is_alone:
            pace.config = stretched

        yield pace


def _tells(backend: object) -> TypeGuard[_TellsCompany]:
    # Whoever changes what a backend does, in a class of his own, may lose hints, or nodes.
    return "alone" in vars(type(backend)) and isinstance(backend, _TellsCompany)


def _stretched(config: SchedulerConfig) -> SchedulerConfig:
    stretched: dict[str, timedelta] = {}

    if config.tick_interval == _DEFAULT.tick_interval:
        stretched["tick_interval"] = timedelta(days=1)

    if config.lease == _DEFAULT.lease:
        stretched["lease"] = timedelta(days=3)

    return evolve(config, **stretched)
