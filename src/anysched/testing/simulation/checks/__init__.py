"""What is promised, held against what happened.

Each check reads the history and says, in words, what should not have happened:

* :mod:`.runs`: every accepted run ends, in one status; settled once; never taken from a live holder; fencing tokens
  only grow; a crash and a hand-back cost no attempt; cancelled is cancelled; who stops leaves nothing behind.
* :mod:`.holders`: of one run, of what is limited, of what must not overlap, and of one lock, no more than allowed is
  held at the same true time by those who may trust their lease; who may not stops.
* :mod:`.entries`: each fire time is a run, or missed, or skipped, and only one of these, once.
* :mod:`.repeats`: what was done is done again only if a lease was lost.
* :mod:`.machines`: nothing breaks down, and who is stopped stops in time.
"""

from __future__ import annotations

from ..stage import Stage
from .entries import check_entries
from .holders import check_holders
from .machines import check_machines
from .repeats import Repeats, check_repeats, read_repeats
from .runs import check_runs

__all__ = ["Repeats", "read_repeats", "violations"]


def violations(stage: Stage) -> list[str]:
    """Everything that was promised and not kept, in words."""
    history = stage.history
    retries = {name: job.retry for machine in stage.machines for name, job in machine.scheduler.jobs.items()}
    limits = {name: job.max_concurrent for machine in stage.machines for name, job in machine.scheduler.jobs.items()}
    found = [
        *check_machines(history, stage.lease),
        *check_runs(history, retries),
        *check_holders(history, {name: limit for name, limit in limits.items() if limit is not None}),
        *check_entries(history),
        *check_repeats(history),
    ]
    return list(dict.fromkeys(found))
