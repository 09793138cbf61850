"""Memory and a real Redis, under one clock, given the same commands: the same answers, and the laws hold in between."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from anysched.backends import Backend

from .clockwork import Edit
from .everything import BackendMachine
from .firing import EntryMachine
from .locking import LockMachine
from .machine import Machine
from .running import RunMachine
from .twins import ground

EASY = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, stateful_step_count=50)
SAME_EACH_TIME = settings(EASY, derandomize=True, database=None)

MACHINES: tuple[type[Machine], ...] = (BackendMachine, RunMachine, EntryMachine, LockMachine)


def play(
    machine: type[Machine], url: str, wanted: settings, *, loop: str = "asyncio", edits: tuple[Edit, ...] = ()
) -> Counter[str]:
    """Let a machine play its histories on the server at a URL, and print how much that was."""
    with ground(url, loop=loop, edits=edits) as found:
        run_state_machine_as_test(type(machine.__name__, (machine,), {"ground": found}), settings=wanted)
        figures = found.figures

    print(
        f"\n{machine.__name__} on {loop}: {figures['histories']:,} histories, {figures['commands']:,} commands, "
        f"{figures['answers']:,} answers compared"
    )
    return figures


@pytest.mark.slow
@pytest.mark.timeout(600)  # a failure is made small, which takes its time
@pytest.mark.parametrize("machine", MACHINES)
def test_both_give_the_same_answers(redis_url: str, machine: type[Machine]) -> None:
    """To the same commands in the same order at the same instants; a short run, the same each time."""
    play(machine, redis_url, settings(SAME_EACH_TIME, max_examples=10))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_model_asks_for_everything(redis_url: str) -> None:
    """No operation of the interface is left out but those that run and listen, and a report of one kind of server."""
    figures = play(BackendMachine, redis_url, settings(SAME_EACH_TIME, max_examples=30))
    operations = {name for name, _ in inspect.getmembers(Backend, inspect.isfunction) if not name.startswith("_")}

    assert operations - set(figures) == {"run", "listen", "report"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_give_the_same_answers_at_their_limits(redis_url: str, small_caps: tuple[Edit, ...]) -> None:
    """When there is more to do than one command does."""
    play(BackendMachine, redis_url, settings(SAME_EACH_TIME, max_examples=10), edits=small_caps)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("loop", "histories"), [("asyncio", 300), ("trio", 60)])
@pytest.mark.parametrize("machine", MACHINES)
def test_both_give_the_same_answers_all_night(
    redis_url: str, machine: type[Machine], loop: str, histories: int
) -> None:
    """Histories that are new each time; a failure prints the blob that replays it."""
    play(machine, redis_url, settings(EASY, max_examples=histories), loop=loop)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", MACHINES)
def test_both_give_the_same_answers_at_their_limits_all_night(
    redis_url: str, small_caps: tuple[Edit, ...], machine: type[Machine]
) -> None:
    """When there is more to do than one command does."""
    play(machine, redis_url, settings(EASY, max_examples=150), edits=small_caps)
