"""Whole clusters, disturbed in virtual time: nothing is lost, nothing is done twice by those who may do it."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from anyio import sleep
from attrs import Factory, define

from anysched import Blueprint, MemoryBackend, Scheduler
from anysched.testing.simulation import Faults, Mixture, Report, SimulationFailed, Workload, insist, simulate
from anysched.testing.simulation.__main__ import main

LONG = range(1_000, 1_500)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_promises_hold_in_a_disturbed_cluster(seed: int) -> None:
    """A minute of faults drawn from the seed, on either loop in turn: every promise is kept.

    Breaks: see test_the_simulation_notices.py.
    """
    report = simulate(seed, duration="1m").check()

    assert report.runs > 50


def test_every_kind_of_fault_is_injected() -> None:
    """On a very bad day each of them is there, and every promise is kept."""
    report = simulate(0, duration="3m", faults=Faults(crashes=4, outages=2, clock_steps=2, stops=2, cancels=2)).check()

    assert [] == [name for name in KINDS if not report.injected.get(name)]


@define
class Figures:
    """What many simulations came to."""

    injected: Counter[str] = Factory(Counter[str])
    counts: Counter[str] = Factory(Counter[str])
    longest_recovery: float = 0.0

    def add(self, report: Report) -> None:
        report.check()
        self.injected.update(report.injected)
        self.counts.update(seeds=1, runs=report.runs, executions=report.executions, fires=report.fires)
        self.counts.update(lost=report.lost, doubled=report.doubled, unaccounted=report.unaccounted)
        self.longest_recovery = max(self.longest_recovery, report.longest_recovery)

    def show(self, what: str) -> None:
        count = self.counts
        faults = ", ".join(f"{name} {self.injected[name]:,}" for name in KINDS if self.injected[name])
        print(
            f"\n{what}: {count['seeds']:,} seeds, {self.injected.total():,} faults ({faults}), "
            f"{count['runs']:,} runs checked, {count['executions']:,} executions, {count['fires']:,} fires, "
            f"lost {count['lost']}, doubled {count['doubled']}, "
            f"doubled without a lost lease {count['unaccounted']}, longest recovery {self.longest_recovery:.1f} s"
        )


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_promises_hold_in_five_hundred_disturbed_clusters() -> None:
    """500 seeds for three minutes each: every promise is kept."""
    figures = Figures()

    for seed in LONG:
        figures.add(simulate(seed, duration="3m"))

    figures.show("disturbed clusters")
    assert figures.counts["runs"] > 100_000
    assert (0, 0) == (figures.counts["lost"], figures.counts["unaccounted"])


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_promises_hold_with_a_lease_of_a_second() -> None:
    """100 seeds with the shortest lease there is, where every fault is longer than it."""
    figures = Figures()

    for seed in range(2_000, 2_100):
        figures.add(simulate(seed, duration="1m", lease="1s"))

    figures.show("leases of a second")


# --- at every suspension --------------------------------------------------------------------------------------------


def strike_at(steps: range, fault: str, seed: int) -> Figures:
    """A node that dies or stands still at each of these steps of its tasks, and nothing else that goes wrong."""
    figures = Figures()

    for step in steps:
        faults = Faults.none().with_(**{fault: step})
        figures.add(simulate(seed, nodes=2, duration="15s", faults=faults, workload=Mixture(pace=0.3)))

    return figures


@pytest.mark.slow
@pytest.mark.parametrize("seed", [8, 9], ids=["asyncio", "trio"])
@pytest.mark.parametrize("fault", ["first_crash", "first_pause"])
def test_a_node_is_struck_at_any_suspension(fault: str, seed: int) -> None:
    """At every 41st; all of them at night."""
    figures = strike_at(range(1, 800, 41), fault, seed)

    assert figures.injected.total() == figures.counts["seeds"]


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [10, 11], ids=["asyncio", "trio"])
@pytest.mark.parametrize("fault", ["first_crash", "first_pause"])
def test_a_node_is_struck_at_every_suspension(fault: str, seed: int) -> None:
    """From its start to the end of the disturbance: the first 800."""
    figures = strike_at(range(1, 801), fault, seed)
    figures.show(f"{fault} at each of 800 suspensions, seed {seed}")

    assert (0, 0) == (figures.counts["lost"], figures.counts["unaccounted"])


KINDS = (
    "lost_command",
    "lost_reply",
    "late_command",
    "slow",
    "twice",
    "crash_at_call",
    "pause_at_call",
    "lost_hint",
    "doubled_hint",
    "late_hint",
    "unreachable",
    "crashes",
    "pauses",
    "cuts",
    "outages",
    "stops",
    "cancels",
    "clock_steps",
)


@pytest.mark.parametrize("seed", [2, 3], ids=["asyncio", "trio"])
def test_a_seed_gives_the_same_story_each_time(seed: int) -> None:
    """On both loops, to the microsecond and the last id: so that a failure can be seen again."""
    first, second = (simulate(seed, duration="30s").story() for _ in range(2))

    assert first == second


def test_without_faults_nothing_is_executed_in_vain() -> None:
    """On a good day no lease is lost, and no run is handed back or crashes."""
    report = simulate(7, duration="1m", faults=Faults.none()).check()
    finals = [record for _, record in (note.detail for note in report.history.happened("final run"))]

    assert {} == report.injected
    assert 0 == sum(record.crashes for record in finals if record is not None)


@pytest.mark.parametrize("seed", [4, 5], ids=["asyncio", "trio"])
def test_runs_of_the_dead_come_back_within_a_lease_and_a_second(seed: int) -> None:
    """With crashes as the only fault: from the last renewal to the next claim, whatever the dead node held.

    Break: with `tick_interval` and a lease of 5 s each, a node that does not look at the end of another's lease finds
    out up to 2.5 s later.
    """
    faults = Faults.none().with_(crashes=4.0)
    report = simulate(seed, nodes=4, duration="2m", faults=faults, workload=Light()).check()

    assert 5 < report.longest_recovery <= 5 + 1


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_runs_of_the_dead_always_come_back_within_a_lease_and_a_second() -> None:
    """Likewise, 60 seeds."""
    figures = Figures()

    for seed in range(3_000, 3_060):
        faults = Faults.none().with_(crashes=4.0)
        figures.add(simulate(seed, nodes=4, duration="2m", faults=faults, workload=Light()))

    figures.show("crashes only, lease 5 s")
    assert 5 < figures.longest_recovery <= 5 + 1


# --- one's own jobs -------------------------------------------------------------------------------------------------

mail = Blueprint("mail")
sent: list[str] = []


@mail.job
async def send(to: str) -> str:
    await sleep(2)
    sent.append(to)
    return to


class Light(Workload):
    """A program's own jobs: one is enqueued every second."""

    queues: Mapping[str, int] = {"default": 1}

    def declare(self, scheduler: Scheduler) -> None:
        scheduler.include(mail)

    async def drive(self, scheduler: Scheduler, chance: Random) -> None:
        number = 0

        while True:
            await sleep(1)
            number += 1
            bound = scheduler.jobs["mail.send"].options(run_id=f"mail-{number}").bind(f"user {number}")
            await insist(lambda bound=bound: scheduler.enqueue(bound))

    def complaints(self) -> list[str]:
        return []


def test_a_program_simulates_its_own_jobs() -> None:
    """A workload declares jobs and uses them; what it finds wrong itself is a violation too."""

    class Complaining(Light):
        def complaints(self) -> list[str]:
            return ["the mail server is on fire"]

    sent.clear()
    report = simulate(1, duration="30s", workload=Light()).check()
    assert report.runs >= 20
    assert set(range(1, report.runs + 1)) == {int(to.split()[1]) for to in sent}

    with pytest.raises(SimulationFailed, match="on fire"):
        simulate(1, duration="10s", workload=Complaining()).check()


def test_a_failure_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    """The message ends with a command, and that command runs the same simulation."""

    class Complaining(Mixture):
        def complaints(self) -> list[str]:
            return ["something"]

    with pytest.raises(SimulationFailed) as caught:
        simulate(6, nodes=2, duration="20s", lease="4s", backend="trio", workload=Complaining()).check()

    command = str(caught.value).rpartition("again: ")[2]
    assert "python -m anysched.testing.simulation 6 --nodes 2 --duration 20s --loop trio --lease 4s" == command

    assert 0 == main(command.split()[3:])
    runs = caught.value.report.runs
    assert f"seed 6: 2 nodes on trio, {runs} runs" in capsys.readouterr().out


@pytest.mark.parametrize("faults", [None, Faults.none(), Faults(crashes=4), Faults.none().with_(first_crash=70)])
def test_the_command_of_a_failure_tells_the_same_story(
    capsys: pytest.CaptureFixture[str], faults: Faults | None
) -> None:
    """Also where nodes and faults were drawn, and where faults were given.

    Break: the number of nodes is drawn only if it is not given, so that the command, which gives it, has other faults.
    """
    report = simulate(31, duration="20s", faults=faults)
    main([*report.replay.split()[3:], "--story"])

    assert report.story() in capsys.readouterr().out


def test_a_program_is_told_how_to_call_it_again() -> None:
    """With jobs of one's own there is no command for it."""
    report = simulate(1, duration="5s", faults=Faults.none(), workload=Light())

    assert report.replay.startswith("simulate(1, nodes=")
    assert report.replay.endswith("workload=Light())")
    again = eval(report.replay, {"simulate": simulate, "Faults": Faults, "Light": Light, "datetime": datetime})
    assert report.story() == again.story()


def test_an_unknown_fault_is_refused() -> None:
    """On the command line."""
    with pytest.raises(ValueError, match="no faults called nonsense"):
        Faults.from_text("crashes=1,nonsense=2")


def test_an_error_of_the_simulation_itself_says_how_to_see_it_again() -> None:
    """Be it one of the backend that was given, or of the workload."""

    class Broken(Mixture):
        async def drive(self, scheduler: Scheduler, chance: Random) -> None:
            raise ZeroDivisionError

    class Failing(MemoryBackend):
        async def list_queues(self) -> Any:
            raise ZeroDivisionError

    with pytest.raises(SimulationFailed, match="ZeroDivisionError"):
        simulate(1, duration="5s", workload=Broken()).check()

    with pytest.raises(ExceptionGroup) as caught:
        simulate(1, duration="5s", memory=Failing())

    assert "again: python -m anysched.testing.simulation 1 " in caught.value.__notes__[0]


def test_a_claim_that_arrives_after_eight_newer_ones_takes_nothing() -> None:
    """What it took nobody would execute, as long as its node lives.

    Break: see test_the_simulation_notices.py, where such a claim is taken for a new one.
    """
    faults = Faults.none().with_(late_command=0.05)

    for seed in range(6):
        simulate(seed, duration="1m", faults=faults).check()
