"""Whole clusters in virtual time: real schedulers, a shared backend, and everything that can go wrong, from a seed.

::

    from anysched.testing.simulation import simulate

    simulate(42).check()                       # the mixture of jobs in here
    simulate(42, workload=MyJobs()).check()    # a program's own, see Workload

The same seed gives the same course of things, so a failure can be seen again: the message says how. What is promised
is checked against an append-only history: see :mod:`anysched.testing.simulation.checks`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Literal

from anysched import identifiers
from anysched.backends.memory import MemoryBackend
from anysched.durations import Duration, parse_duration

from ..virtual import virtual_time
from .checks import violations
from .faults import Faults
from .gates import in_order
from .history import Began, Command, History
from .report import Report, SimulationFailed
from .stage import Stage
from .workload import Mixture, Workload, insist

__all__ = ["Faults", "History", "Mixture", "Report", "SimulationFailed", "Workload", "insist", "simulate"]


def simulate(
    seed: int,
    *,
    nodes: int | None = None,
    duration: Duration = "2m",
    lease: Duration = "5s",
    backend: Literal["asyncio", "trio"] | None = None,
    faults: Faults | None = None,
    workload: Workload | None = None,
    memory: MemoryBackend | None = None,
    honest_clock: bool = True,
) -> Report:
    """Run a cluster in virtual time, disturb it, let it come to rest, and check what happened.

    Args:
        seed: decides everything that is not said here.
        nodes: machines that run the scheduler; default: 2 to 5.
        duration: for how long it is disturbed, in virtual time.
        lease: of the nodes.
        backend: the event loop; default: asyncio for even seeds, Trio for odd ones.
        faults: how often what goes wrong; default: drawn from the seed.
        workload: what is done; default: :class:`Mixture`.
        memory: the shared backend; default: a new one.
        honest_clock: whether the backend goes by true time. Without, it takes the clock of whichever machine calls,
            which breaks promises: to see that they are checked.

    Returns:
        What came of it; :meth:`Report.check` raises if a promise was broken.
    """
    chance = Random(f"{seed} setup")
    loop: Literal["asyncio", "trio"] = backend or ("trio" if seed % 2 else "asyncio")
    stage = Stage(
        seed=seed,
        nodes=nodes or chance.randint(2, 5),
        duration=parse_duration(duration, name="duration").total_seconds(),
        lease=parse_duration(lease, name="lease"),
        faults=faults if faults is not None else Faults.drawn(chance),
        workload=workload if workload is not None else Mixture(),
        backend=memory if memory is not None else MemoryBackend(),
        is_honest=honest_clock,
    )
    began = time.perf_counter()

    with _repeatable(seed), in_order(seed, loop):
        virtual_time(stage.run, backend=loop)

    return _report(stage, loop, time.perf_counter() - began)


def _report(stage: Stage, loop: str, seconds: float) -> Report:
    history = stage.history
    records = history.records
    found = violations(stage) + stage.workload.complaints()
    replay = f"python -m anysched.testing.simulation {stage.seed} --nodes {stage.nodes} --duration {stage.duration:g}s"
    return Report(
        seed=stage.seed,
        backend=loop,
        nodes=stage.nodes,
        duration=timedelta(seconds=stage.duration),
        faults=stage.faults,
        violations=tuple(found),
        injected=dict(history.counts),
        runs=sum(1 for one in history.happened("final run") if one.detail[1] is not None),
        executions=sum(isinstance(one, Began) for one in records),
        commands=sum(isinstance(one, Command) for one in records),
        fires=sum(answer.done for one in history.commands("tick") for answer in one.answer.fired),
        virtual=timedelta(microseconds=records[-1].at - records[0].at),
        seconds=seconds,
        replay=f"{replay} --loop {loop} --lease {stage.lease.total_seconds():g}s",
        history=history,
    )


@contextmanager
def _repeatable(seed: int) -> Generator[None]:
    """Chance from the seed, also where the package itself asks for it."""
    state = random.getstate()
    source: Callable[[int], bytes] = identifiers.random_bytes
    random.seed(seed)
    identifiers.random_bytes = Random(f"{seed} ids").randbytes

    try:
        yield
    finally:
        random.setstate(state)
        identifiers.random_bytes = source
