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
from .checks import read_repeats, violations
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
    # Both are drawn in any case: so what is said here changes nothing of what is not.
    drawn_nodes, drawn_faults = chance.randint(2, 5), Faults.drawn(chance)
    loop: Literal["asyncio", "trio"] = backend or ("trio" if seed % 2 else "asyncio")
    stage = Stage(
        seed=seed,
        nodes=nodes or drawn_nodes,
        duration=parse_duration(duration, name="duration").total_seconds(),
        lease=parse_duration(lease, name="lease"),
        faults=faults if faults is not None else drawn_faults,
        workload=workload if workload is not None else Mixture(),
        backend=memory if memory is not None else MemoryBackend(),
        is_honest=honest_clock,
    )
    replay = _replay(stage, loop, faults)
    began = time.perf_counter()

    try:
        with _repeatable(seed), in_order(seed, loop):
            virtual_time(stage.run, backend=loop)
    except Exception as error:
        error.add_note(f"in a simulation; again: {replay}")
        raise

    return _report(stage, loop, replay, time.perf_counter() - began)


def _replay(stage: Stage, loop: str, faults: Faults | None) -> str:
    """What does it again: a command, or with a program's own workload a call."""
    duration, lease = f"{stage.duration:g}s", f"{stage.lease.total_seconds():g}s"

    if not isinstance(stage.workload, Mixture):
        given = "" if faults is None else f"faults={faults!r}, "
        return (
            f"simulate({stage.seed}, nodes={stage.nodes}, duration={duration!r}, lease={lease!r}, backend={loop!r}, "
            f"{given}workload={type(stage.workload).__name__}())"
        )

    command = f"python -m anysched.testing.simulation {stage.seed} --nodes {stage.nodes} --duration {duration}"
    given = "" if faults is None else f" --faults {faults.as_text()}"
    return f"{command} --loop {loop} --lease {lease}{given}"


def _report(stage: Stage, loop: str, replay: str, seconds: float) -> Report:
    history = stage.history
    records = history.records
    found = violations(stage) + stage.workload.complaints()
    repeats = read_repeats(history)
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
        lost=len(repeats.lost),
        doubled=len(repeats.doubled),
        unaccounted=len(repeats.unaccounted),
        longest_recovery=max(repeats.recoveries, default=0.0),
        virtual=timedelta(microseconds=records[-1].at - records[0].at),
        seconds=seconds,
        replay=replay,
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
