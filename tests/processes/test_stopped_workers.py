"""Workers that are killed, or stopped beyond their lease, leaders among them, and clients killed in mid-sentence."""

from __future__ import annotations

import signal
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from anysched import RunStatus, Scheduler

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


async def enqueue_long(url: str, name: str, seconds: float) -> None:
    scheduler = Scheduler(url, namespace="processes")

    @scheduler.job(name="long")
    async def long(name: str, seconds: float) -> str: ...

    async with scheduler:
        await long.options(run_id=name).enqueue(name, seconds)


async def outcome_of(url: str, run_id: str) -> tuple[str, int, str]:
    async with Scheduler(url, namespace="processes") as scheduler:
        info = await scheduler.run_info(run_id)
        return info.status, info.attempt, repr(info.error)


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("trio", marks=pytest.mark.nightly)])
def test_a_worker_that_was_stopped_beyond_its_lease_cancels_and_changes_nothing(processes: Any, loop: str) -> None:
    """SIGSTOP, another node takes the run, SIGCONT: the stale attempt is cancelled and its settlement refused.

    Breaks: "trust" (the stale attempt goes on to its end), "fencing" (what it settles is taken).
    """
    environ = {"ANYSCHED_TEST_LEASE": "1s"}
    first = processes.worker(loop, **environ)
    anyio.run(enqueue_long, processes.url, "it", 4)
    processes.wait_for(lambda: processes.effects("begin"))
    first.send_signal(signal.SIGSTOP)
    second = processes.worker(loop, **environ)
    processes.wait_for(lambda: len(processes.effects("begin")) == 2, within=6)
    first.send_signal(signal.SIGCONT)
    continued = time.time()
    processes.wait_for(lambda: processes.effects("cancelled"), within=3)
    processes.wait_for(lambda: processes.effects("end"), within=10)
    processes.wait_for(lambda: anyio.run(outcome_of, processes.url, "it")[0] == RunStatus.SUCCEEDED)

    stale, fresh = processes.effects("begin")
    ((_, _, _, pid, at, token),) = processes.effects("cancelled")
    assert (str(first.pid), stale[5]) == (pid, token)
    assert float(at) - continued < 1, "at once"
    assert [str(second.pid), fresh[5]] == [processes.effects("end")[0][3], processes.effects("end")[0][5]]
    assert int(fresh[5]) > int(stale[5])
    assert 1 == len(processes.effects("end"))
    assert anyio.run(outcome_of, processes.url, "it") == (RunStatus.SUCCEEDED, 1, "None")
    # It has joined anew, and works.
    anyio.run(enqueue_long, processes.url, "next", 0)
    processes.wait_for(lambda: len(processes.effects("end")) == 2)


LEADER_TRIES = [1, pytest.param(10, marks=[pytest.mark.nightly, pytest.mark.timeout(400)])]


@pytest.mark.parametrize("tries", LEADER_TRIES)
@pytest.mark.parametrize(
    "by",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGSTOP, id="stopped", marks=pytest.mark.nightly),
    ],
)
def test_a_leader_that_dies_delays_fires_by_about_a_second_and_doubles_none(
    processes: Any, by: Any, tries: int
) -> None:
    """Entries of a second, the leader killed, or stopped and woken up late: followers fire a second late, each once.

    Break: "followers" (as late as the dead leader's lease). That no leader can double a fire: see `test_leaders`.
    """
    loops = ["asyncio", "trio"]
    # A dead leader's lock is to last far longer than a fire may be late; one that wakes up has to find it gone.
    lease = "6s" if by == signal.SIGKILL else "2s"
    environ = {"ANYSCHED_TEST_ENTRIES": "1", "ANYSCHED_TEST_LEASE": lease}
    workers = {str(worker.pid): worker for worker in (processes.worker(loop, **environ) for loop in loops)}

    def leader() -> str | None:
        leaders = [words[1] for words in processes.effects("BecameLeader")]
        return leaders[-1] if leaders and leaders[-1] in workers else None

    def newest(complete: int) -> str:
        """The newest second of which so many fires were carried out."""
        seconds = Counter(second for _, second in {(words[1], words[2]) for words in processes.effects("fired")})
        return max((second for second, count in seconds.items() if count >= complete), default="")

    for turn in range(tries):
        processes.wait_for(leader, within=10)
        # A new leader fires what is overdue. What is on it when it dies comes back with its lease, not in a second.
        begun = newest(1)
        processes.wait_for(lambda: newest(3) > begun, within=10)  # noqa: B023 - called now
        found = leader()
        assert found is not None
        before = len(processes.effects("fired"))
        workers[found].send_signal(by)
        processes.wait_for(lambda: len(processes.effects("fired")) >= before + 9, within=10)  # noqa: B023 - called now

        if by == signal.SIGSTOP:
            workers[found].send_signal(signal.SIGCONT)
            processes.wait_for(lambda: len(processes.effects("fired")) >= before + 15, within=10)  # noqa: B023 - called now
        else:
            del workers[found]
            again = processes.worker(loops[turn % 2], **environ)
            workers[str(again.pid)] = again

    for worker in workers.values():
        processes.stop(worker)

    late = max(float(words[5]) for words in processes.effects("fired"))
    assert late < 2500, f"{late:.0f} ms late"

    for name in ("every", "cron", "elsewhere"):
        fires = sorted(datetime.fromisoformat(words[2]) for words in processes.effects("fired") if words[1] == name)
        fires_by_run = {words[3]: words[2] for words in processes.effects("fired") if words[1] == name}
        assert len(fires_by_run) == len(set(fires)), "each fire is one run"
        assert sorted(set(fires)) == [fires[0] + timedelta(seconds=n) for n in range(len(set(fires)))]
        # A run that was on the leader when it was stopped may be done by another once more.
        assert len(fires) - len(set(fires)) <= len(processes.effects("LeaseWasLost")) + len(
            processes.effects("NodeWasLost")
        )

    print(f"\n{tries} leaders, latest fire {late:.0f} ms late")


def test_a_client_killed_while_it_enqueues_leaves_whole_batches(processes: Any) -> None:
    """`kill -9` in the middle of many batches of a hundred: what was accepted is done, a batch never in part."""
    processes.worker("asyncio")

    for number in range(3):
        client = processes.start("flood", "--count", "20000", ANYSCHED_TEST_NAMESPACE="processes")
        processes.wait_for(lambda: len(processes.effects("accepted")) > 10 * (number + 1))  # noqa: B023 - called now
        client.kill()
        client.wait()

    accepted = {int(words[1]) for words in processes.effects("accepted")}
    done = Counter[int]()

    def is_done() -> bool:
        nonlocal done
        done = Counter(int(words[1]) for words in processes.effects("note"))
        whole = Counter(number // 100 * 100 for number in done)
        return accepted <= set(whole) and set(whole.values()) == {100}

    processes.wait_for(is_done, within=30)
    assert {1} == set(done.values()), "the same id, enqueued again, is the same run"


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_twenty_killed_workers_are_made_up_for_within_the_lease_and_a_second(processes: Any) -> None:
    """Twenty times `kill -9` of the worker that has the run, at a lease of two seconds.

    Break: "reaping" (nobody ever has it again).
    """
    took: list[float] = []
    loops = ["asyncio", "trio"]
    workers = {str(one.pid): one for one in (processes.worker(loop, ANYSCHED_TEST_LEASE="2s") for loop in loops)}

    for turn in range(20):
        anyio.run(enqueue_long, processes.url, f"run-{turn}", 3600)
        processes.wait_for(lambda: mine(processes, turn))  # noqa: B023 - called now
        victim = workers.pop(mine(processes, turn)[0][3])
        time.sleep(0.1 * (turn % 8))  # at any point of the renewals
        victim.kill()
        killed = time.time()
        processes.wait_for(lambda: len(mine(processes, turn)) == 2, within=6)  # noqa: B023 - called now
        took.append(float(mine(processes, turn)[1][4]) - killed)
        again = processes.worker(loops[turn % 2], ANYSCHED_TEST_LEASE="2s")
        workers[str(again.pid)] = again
        anyio.run(cancel, processes.url, f"run-{turn}")

    print(f"\n{len(took)} kills, recovery {min(took):.2f} to {max(took):.2f} s")
    assert max(took) < 3


def mine(processes: Any, turn: int) -> list[list[str]]:
    return [words for words in processes.effects("begin") if words[1] == f"run-{turn}"]


async def cancel(url: str, run_id: str) -> None:
    async with Scheduler(url, namespace="processes") as scheduler:
        await scheduler.cancel_run(run_id)
