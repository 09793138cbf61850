"""The commands that look after a running system, against a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Self

import anyio
import msgspec
import pytest
from attrs import frozen

from anysched import Every, Schedule, Scheduler
from anysched.cli import records, runs
from anysched.entry import spec
from anysched.schedules import base

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def target(app, redis_url: str) -> str:
    return app.write(backend=redis_url).target


@pytest.fixture
def entry(redis_url: str) -> str:
    """An entry that was added at run time, an hour before its first fire."""

    async def add() -> None:
        async with Scheduler(redis_url) as scheduler:
            add = scheduler.job(name="add")(_add)
            await scheduler.add(Every("1h"), add.bind(1), id="hourly")

    anyio.run(add)
    return "hourly"


@frozen
class Yearly(Schedule):
    """A schedule that other programs need not know."""

    scheme = "cli-yearly"

    def next_after(self, instant: datetime) -> datetime | None:
        return instant + timedelta(days=365)

    def to_text(self) -> str:
        return "cli-yearly:"

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls()


async def _add(a: int, b: int = 1) -> int:
    return a + b


def read(call: Call, *words: str) -> Any:
    status, out, err = call(*words, "--json")
    assert (0, "") == (status, err)
    return msgspec.json.decode(out)


def done(call: Call, *words: str) -> str:
    status, out, err = call(*words)
    assert (0, "") == (status, err)
    return out.strip()


def test_entries_are_looked_after(call: Call, redis_url: str, entry: str) -> None:
    """Listed, shown, paused with a note, resumed, triggered and removed, by nothing but the address."""
    at = ("--backend", redis_url)
    (listed,) = read(call, "entries", "ls", *at)
    assert records.ENTRY_FIELDS == tuple(listed)
    assert listed == read(call, "entries", "show", entry, *at)
    assert ("hourly", "add", "active", {"a": 1}) == tuple(listed[name] for name in ("id", "job", "status", "args"))
    assert "hourly" in done(call, "entries", "ls", *at)

    done(call, "entries", "pause", entry, "--note", "provider down", *at)
    paused = read(call, "entries", "show", entry, *at)
    assert ("paused", "provider down", None) == (paused["status"], paused["note"], paused["next_run_at"])

    done(call, "entries", "resume", entry, *at)
    assert "active" == read(call, "entries", "show", entry, *at)["status"]

    run_id = done(call, "entries", "trigger", *at, entry)
    assert "hourly" == read(call, "runs", "show", run_id, *at)["entry_id"]
    assert "skipped" in done(call, "entries", "trigger", *at, entry)
    assert run_id != done(call, "entries", "trigger", *at, entry, "--overlap", "allow")

    done(call, "entries", "remove", entry, *at)
    assert [] == read(call, "entries", "ls", *at)
    assert "no entries" == done(call, "entries", "ls", *at)


def test_entries_that_cannot_be_read_here_are_named(
    call: Call, redis_url: str, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line beside the list, which holds the others, for people and for programs."""

    async def add() -> None:
        async with Scheduler(redis_url) as scheduler:
            add = scheduler.job(name="add")(_add)
            for entry_id in ("own", "own2"):
                await scheduler.add(Yearly(), add.bind(1), id=entry_id)

    anyio.run(add)
    # As in a program that never knew the class.
    monkeypatch.delitem(base._classes, "cli-yearly")
    spec._read_spec.cache_clear()

    for words in ((), ("--json",)):
        status, out, err = call("entries", "ls", "--backend", redis_url, *words)

        assert 0 == status
        assert (True, False) == (entry in out, "own" in out)
        assert "anysched: warning: 2 entries cannot be read here: own, own2\n" == err


def test_what_is_not_there_is_an_error(call: Call, target: str) -> None:
    """An id that nothing has is named in one line, and the exit status is 1."""
    for words in (("entries", "pause"), ("entries", "show"), ("runs", "show"), ("runs", "cancel"), ("runs", "retry")):
        status, _, err = call(*words, target, "nothing")

        assert 1 == status
        assert "'nothing'" in err
        assert 1 == err.count("\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("runs", "reschedule", "id", "--delay", "soon"), "invalid delay 'soon'"),
        (("runs", "reschedule", "id", "--at", "2030-01-01"), "write 2030-01-01T00:00:00Z"),
        (("queues", "pause", "two words"), "invalid queue 'two words'"),
        (("queues", "resume", "two words"), "invalid queue 'two words'"),
        (("runs", "ls", "--backend", "localhost"), "invalid backend address"),
        (("runs", "ls", "--backend", ""), "invalid backend address"),
        (("runs", "ls", "--backend", "redis://localhost", "--namespace", "a b"), "invalid namespace 'a b'"),
        (("runs", "ls", "--backend", "redis://localhost", "--namespace", ""), "invalid namespace ''"),
    ],
)
def test_a_word_that_cannot_be_is_misuse(call: Call, target: str, words: tuple[str, ...], complaint: str) -> None:
    """It is refused before anything is connected to, and the exit status is 2."""
    where = () if "--backend" in words else (target,)
    status, out, err = call(*words[:2], *where, *words[2:])

    assert (2, "", 1) == (status, out, err.count("\n"))
    assert complaint in err


def test_a_variable_that_cannot_be_is_misuse(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a word is; an empty one is none."""
    monkeypatch.setenv("ANYSCHED_LEASE", "soon")
    status, _, err = call("runs", "ls", "--backend", "redis://localhost")

    assert 2 == status
    assert "invalid ANYSCHED_LEASE 'soon'" in err

    monkeypatch.setenv("ANYSCHED_LEASE", "")
    status, _, err = call("runs", "ls")

    assert 2 == status
    assert "say which system" in err


def test_runs_are_looked_after(call: Call, target: str) -> None:
    """Listed by status, queue and job, moved in time, and cancelled."""
    one = done(call, "enqueue", target, "add", "1")
    two = done(call, "enqueue", target, "fail", "--queue", "mail", "--delay", "1h")
    listed = read(call, "runs", "ls", target)
    assert {one, two} == {run["id"] for run in listed}
    assert records.RUN_FIELDS == tuple(listed[0])
    assert [two] == [run["id"] for run in read(call, "runs", "ls", target, "--status", "scheduled")]
    assert [two] == [run["id"] for run in read(call, "runs", "ls", target, "--queue", "mail")]
    assert [one] == [run["id"] for run in read(call, "runs", "ls", target, "--job", "add")]

    done(call, "runs", "reschedule", target, one, "--at", "2040-01-01T00:00:00Z")
    assert "2040-01-01T00:00:00+00:00" == read(call, "runs", "show", target, one)["due_at"]
    assert "2040-01-01 00:00:00Z" in done(call, "runs", "show", target, one)

    done(call, "runs", "cancel", target, one, two)
    assert {"cancelled"} == {run["status"] for run in read(call, "runs", "ls", target)}


def test_ids_alone_are_ids(call: Call, target: str, redis_url: str) -> None:
    """With an address, the first of several ids is not taken for an application."""
    ids = [done(call, "enqueue", target, "add", "1") for _ in range(2)]
    done(call, "runs", "cancel", *ids, "--backend", redis_url)

    assert {"cancelled"} == {run["status"] for run in read(call, "runs", "ls", target)}


@pytest.mark.parametrize("name", ["email:{}", "no_such_module:a{}", ":a{}", "..shop:a{}", "email.no_such_module:a{}"])
def test_ids_with_a_colon_are_ids(call: Call, redis_url: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With an address in the environment, the first is an application's only where there is such a module."""
    ids = [name.format(number) for number in range(2)]

    async def enqueue() -> None:
        async with Scheduler(redis_url) as scheduler:
            add = scheduler.job(name="add")(_add)

            for run_id in ids:
                await add.options(run_id=run_id).enqueue(1)

    anyio.run(enqueue)
    monkeypatch.setenv("ANYSCHED_BACKEND", redis_url)
    done(call, "runs", "cancel", *ids)
    assert {"cancelled"} == {run["status"] for run in read(call, "runs", "ls")}

    # They are found, and have not failed.
    status, _, err = call("runs", "retry", *ids)
    assert 1 == status
    assert f"'{ids[0]}'" in err


def test_a_search_that_was_not_finished_says_so(call: Call, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that there are none of that job; one that has found enough says nothing."""
    monkeypatch.setattr(runs, "_MOST_LOOKED_AT", 2)
    done(call, "enqueue", target, "fail", '"sorry"')

    for _ in "12":
        done(call, "enqueue", target, "add", "1")

    status, out, err = call("runs", "ls", target, "--job", "fail")
    assert (0, "no runs") == (status, out.strip())
    assert "no more than 2 runs were looked at" in err
    done(call, "runs", "ls", target, "--job", "add", "--limit", "2")


def test_an_application_is_one_beside_an_address(
    call: Call, target: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its module is found; without ids it is said what the word was taken for."""
    monkeypatch.setenv("ANYSCHED_BACKEND", "redis://localhost:1")
    run_id = done(call, "enqueue", target, "add", "1")
    done(call, "runs", "cancel", target, run_id)
    assert "cancelled" == read(call, "runs", "show", target, run_id)["status"]

    status, _, err = call("runs", "retry", target)
    assert 2 == status
    assert f"'{target}' was taken for an application" in err


def test_failed_runs_are_retried(call: Call, start, target: str) -> None:
    """By id or all at once; what it takes is one of the two."""
    worker = start("run", target)
    worker.wait_for("runs on")
    run_id = done(call, "enqueue", target, "fail", '"sorry"')
    worker.wait_for("run gave up")
    worker.process.terminate()
    assert 0 == worker.status()
    failed = read(call, "runs", "show", target, run_id)
    assert ("failed", "sorry") == (failed["status"], failed["error"]["message"])
    assert "ValueError: sorry" in done(call, "runs", "show", target, run_id)

    done(call, "runs", "retry", target, run_id)
    assert "ready" == read(call, "runs", "show", target, run_id)["status"]
    assert "0 runs are ready again" == done(call, "runs", "retry", target, "--all-failed")
    assert 2 == call("runs", "retry", target)[0]
    assert 2 == call("runs", "retry", target, run_id, "--all-failed")[0]
    assert 1 == call("runs", "retry", target, run_id)[0]


def test_live_runs_are_cancelled(call: Call, target: str) -> None:
    """By id, or all at once, of one queue, job or status; what it takes is one of the two."""
    ids = [done(call, "enqueue", target, "add", "1", "--queue", queue) for queue in ("mail", "mail", "low")]
    later = done(call, "enqueue", target, "add", "1", "--queue", "mail", "--delay", "1h")

    said = "{} runs are cancelled, or were asked to stop"
    assert said.format(0) == done(call, "runs", "cancel", target, "--all", "--job", "fail")
    assert said.format(1) == done(call, "runs", "cancel", target, "--all", "--queue", "mail", "--status", "scheduled")
    assert said.format(2) == done(call, "runs", "cancel", target, "--all", "--queue", "mail")
    assert said.format(1) == done(call, "runs", "cancel", target, "--all")
    statuses = {read(call, "runs", "show", target, run_id)["status"] for run_id in (*ids, later)}
    assert {"cancelled"} == statuses

    for words in ((), (later, "--all"), (later, "--queue", "mail"), ("--all", "--status", "failed")):
        assert 2 == call("runs", "cancel", target, *words)[0]


def test_queues_nodes_and_numbers(call: Call, start, target: str) -> None:
    """Queues are paused and resumed, nodes are seen while they live, and all is counted."""
    done(call, "enqueue", target, "add", "1", "--queue", "mail")
    done(call, "queues", "pause", target, "mail")
    assert [{"name": "mail", "ready": 1, "paused": True}] == read(call, "queues", "ls", target)
    assert "paused" in done(call, "queues", "ls", target)
    done(call, "queues", "resume", target, "mail")
    assert [{"name": "mail", "ready": 1, "paused": False}] == read(call, "queues", "ls", target)

    assert [] == read(call, "nodes", "ls", target)
    worker = start("run", target, "--concurrency", "7", "--queue", "low")
    worker.wait_for("runs on")
    (node,) = read(call, "nodes", "ls", target)
    assert records.NODE_FIELDS == tuple(node)
    assert (worker.process.pid, 7, ["low"]) == (node["pid"], node["capacity"], node["queues"])
    assert node["id"] in done(call, "nodes", "ls", target)

    stats = read(call, "stats", target)
    assert records.STATS_FIELDS == tuple(stats)
    assert (1, 1, 1) == (stats["ready"], stats["entries"], len(stats["nodes"]))
    assert "mail: 1 ready" in done(call, "stats", target)


def test_another_namespace_is_another_world(call: Call, target: str, redis_url: str) -> None:
    """``--namespace`` says whose data are looked at."""
    done(call, "enqueue", target, "add", "1")

    assert [] == read(call, "runs", "ls", "--backend", redis_url, "--namespace", "other")


def test_the_environment_says_where(call: Call, target: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ANYSCHED_BACKEND`` stands in for the address, on either loop."""
    run_id = done(call, "enqueue", target, "add", "1")
    monkeypatch.setenv("ANYSCHED_BACKEND", redis_url)

    for loop in ("asyncio", "trio"):
        assert [run_id] == [run["id"] for run in read(call, "runs", "ls", "--loop", loop)]
