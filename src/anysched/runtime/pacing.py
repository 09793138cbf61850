"""How often to look although nothing was heard, where hearing is certain and nobody's clock can jump.

Looking again every few seconds makes up for lost hints, stepped clocks and dead nodes. Under virtual time, over a
store that nobody else can have, there are none of these: a hint is a call, the clock goes where it is told, and there
is no other node. All that the looking does there is to make a year of waiting cost minutes.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from anysched.clock import clock_in_force
from anysched.config import SchedulerConfig

__all__ = ["paced"]

_DEFAULT = SchedulerConfig()


def paced(config: SchedulerConfig, *, alone: bool) -> SchedulerConfig:
    """The settings to run with: what was left at its default is stretched where nothing can be missed.

    Args:
        config: the settings as given; what was set to something else stays.
        alone: the store is in memory, and this scheduler's own.
    """
    if not (alone and clock_in_force.get().virtual):
        return config

    stretched: dict[str, timedelta] = {}

    if config.tick_interval == _DEFAULT.tick_interval:
        stretched["tick_interval"] = timedelta(days=1)

    if config.lease == _DEFAULT.lease:
        stretched["lease"] = timedelta(days=3)

    return evolve(config, **stretched)
