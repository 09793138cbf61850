"""A plain run is one string in Redis; whatever else happens to it makes a hash of it, and changes nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anysched.backends import Claim, ClaimedRun, NewRun, NodeInfo, Outcome, RunRecord
from anysched.backends.redis import RedisBackend
from anysched.backends.redis.scripts import script
from anysched.testing.resp import RespConnection

LATER = 3_600_000
RUN = "{anysched}:run:a"
RUNNING = "{anysched}:running"

Happening = Callable[[RedisBackend, ClaimedRun], Awaitable[Any]]


def form(store: RespConnection, key: str = RUN) -> str:
    return str(store.command("TYPE", key))


async def join(backend: RedisBackend, job: str = "job") -> None:
    await backend.join(NodeInfo(id="node", ttl_ms=LATER, jobs=(job,), queues=("default",)))


async def claimed(backend: RedisBackend, **fields: Any) -> ClaimedRun:
    """A run that the node has claimed."""
    await join(backend)
    await backend.enqueue([NewRun(**{"id": "a", "job": "job", "payload": "[1]"} | fields)])
    (run,) = (await backend.work("node", (), Claim(number=1, count=9, queues=("default",)))).runs
    return run


def settle(backend: RedisBackend, run: ClaimedRun, **fields: Any) -> Awaitable[Any]:
    return backend.work("node", [Outcome(run_id=run.id, token=run.token, **fields)], None)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "string"),
        ({"queue": "q", "priority": 5, "options": "{}", "ttl_ms": 60_000, "deadline_ms": 5}, "string"),
        ({"payload": "x" * 4096}, "string"),
        ({"payload": "x" * 4097}, "hash"),
        ({"key": "k"}, "hash"),
        ({"delay_ms": 5}, "hash"),
        ({"expires_ms": 5}, "hash"),
    ],
)
async def test_what_has_nothing_but_its_record_is_sealed(
    backend: RedisBackend, store: RespConnection, fields: dict[str, Any], wanted: str, count: int
) -> None:
    """Whether it is enqueued alone or with others; and it says what was given."""
    others = [NewRun(id="b", job="job")][: count - 1]
    await backend.enqueue([NewRun(**{"id": "a", "job": "job"} | fields), *others])
    (record,) = await backend.get_runs(["a"])

    assert wanted == form(store)
    assert isinstance(record, RunRecord)
    told = {name: value for name, value in fields.items() if name not in {"ttl_ms", "delay_ms", "expires_ms"}}
    assert told == {name: getattr(record, name) for name in told}


@pytest.mark.parametrize("job", ["j", "j" * 31, "j" * 32, "j" * 200, "ä" * 200])
async def test_a_job_of_any_length_is_found_in_a_seal(backend: RedisBackend, store: RespConnection, job: str) -> None:
    """Also one whose name takes more bytes than the shorter headers of msgpack can say."""
    await join(backend, job)
    await backend.enqueue([NewRun(id="a", job=job, payload="[1]")])
    assert "string" == form(store)
    (run,) = (await backend.work("node", (), Claim(number=1, count=9, queues=("default",)))).runs

    assert ("a", job, "[1]", 1) == (run.id, run.job, run.payload, run.attempt)
    assert (True,) == (await settle(backend, run, kind="succeeded")).settled


async def test_a_success_leaves_it_sealed(backend: RedisBackend, store: RespConnection) -> None:
    """With its result, for as long as it was asked to, and no trace among what runs."""
    run = await claimed(backend)
    assert 1 == store.command("HLEN", RUNNING)
    await settle(backend, run, kind="succeeded", result="[2]", ttl_ms=50_000)
    (record,) = await backend.get_runs(["a"])

    assert isinstance(record, RunRecord)
    assert ("succeeded", "[2]", "[1]", 1, run.token, "") == (
        *(record.status, record.result, record.payload, record.attempt, record.token, record.node),
    )
    assert "string" == form(store)
    left_ms = store.command("PTTL", RUN)
    assert isinstance(left_ms, int)
    assert 40_000 < left_ms <= 50_000
    assert 0 == store.command("EXISTS", RUNNING, "{anysched}:held:node", "{anysched}:live:job")


HAPPENINGS: dict[str, Happening] = {
    "it is watched": lambda backend, run: backend.watch(run.id, "me"),
    "it is cancelled": lambda backend, run: backend.cancel(run.id),
    "it says how far it is": lambda backend, run: backend.set_progress(run.id, run.token, 0.5, "half"),
    "it fails": lambda backend, run: settle(backend, run, kind="failed", error="{}"),
    "it is tried again": lambda backend, run: settle(backend, run, kind="retry", error="{}", delay_ms=LATER),
    "it is put off": lambda backend, run: settle(backend, run, kind="snooze", delay_ms=LATER),
    "it is handed back": lambda backend, run: settle(backend, run, kind="released"),
    "its node leaves": lambda backend, run: backend.leave("node"),
    "it succeeds after an error": lambda backend, run: settle(backend, run, kind="succeeded", error="{}"),
}


@pytest.mark.parametrize("happening", HAPPENINGS.values(), ids=HAPPENINGS)
async def test_whatever_else_happens_to_it_opens_it(
    backend: RedisBackend, store: RespConnection, happening: Happening
) -> None:
    """What it was before, it still is, in the fields of a hash; nobody needs the note of its claim any more."""
    run = await claimed(backend, options='{"timeout_ms":5}', queue="default", priority=3)
    (before,) = await backend.get_runs(["a"])
    await happening(backend, run)
    (after,) = await backend.get_runs(["a"])

    assert "hash" == form(store)
    assert 0 == store.command("EXISTS", RUNNING)
    assert isinstance(before, RunRecord)
    assert isinstance(after, RunRecord)
    kept = ("id", "job", "payload", "options", "queue", "priority", "enqueued_ms", "started_ms")
    assert [getattr(before, name) for name in kept] == [getattr(after, name) for name in kept]


async def test_a_final_record_that_is_opened_lives_no_longer(backend: RedisBackend, store: RespConnection) -> None:
    """An outcome that comes again is answered as before; to see that, the record is opened.

    Break: a record that was to go in a minute stays for ever.
    """
    run = await claimed(backend)

    for wanted in ("string", "hash"):
        assert (True,) == (await settle(backend, run, kind="succeeded", ttl_ms=60_000)).settled
        assert wanted == form(store)
        left_ms = store.command("PTTL", RUN)
        assert isinstance(left_ms, int)
        assert 50_000 < left_ms <= 60_000

    assert 1 == (await backend.totals()).succeeded


async def test_a_final_record_that_is_opened_in_its_last_millisecond_goes(
    backend: RedisBackend, store: RespConnection
) -> None:
    """The server tells 0 then, and also of one whose time ran out while the script ran.

    Break: it stays for ever.
    """
    await settle(backend, await claimed(backend), kind="succeeded")
    asked, text = "redis.call('PTTL', key)", script("watch").text
    assert asked in text
    store.command("EVAL", text.replace(asked, "0"), 1, "{anysched}:", "a", "inbox")
    left_ms = store.command("PTTL", RUN)
    assert isinstance(left_ms, int)
    assert left_ms in {-2, 0, 1}


@pytest.mark.parametrize("off", [-1_000_000, -1, 1, 1_000_000])
async def test_a_sealed_run_is_settled_under_its_token_only(
    backend: RedisBackend, store: RespConnection, off: int
) -> None:
    """As any other: what comes under another one is answered as stale, and changes nothing.

    Break: the claim's tokens are not looked at.
    """
    run = await claimed(backend)
    outcome = Outcome(run_id="a", token=run.token + off, kind="succeeded")
    assert (False,) == (await backend.work("node", [outcome], None)).settled
    assert (1, 0) == ((await backend.totals()).running, (await backend.totals()).succeeded)
    assert (True,) == (await settle(backend, run, kind="succeeded")).settled


async def test_a_sealed_run_is_taken_from_the_node_that_holds_it(backend: RedisBackend, store: RespConnection) -> None:
    """Whoever brings its outcome.

    Break: it is looked for among the runs of the node that speaks, and stays with the other one.
    """
    run = await claimed(backend)
    outcome = Outcome(run_id="a", token=run.token, kind="succeeded")
    assert (True,) == (await backend.work("other", [outcome], None)).settled
    assert 0 == store.command("EXISTS", RUNNING, "{anysched}:held:node", "{anysched}:live:job")


async def test_an_outcome_twice_in_one_batch_counts_once(backend: RedisBackend) -> None:
    """Both are answered as settled."""
    run = await claimed(backend)
    outcome = Outcome(run_id=run.id, token=run.token, kind="succeeded")

    assert (True, True) == (await backend.work("node", [outcome, outcome], None)).settled
    assert (0, 1) == ((await backend.totals()).running, (await backend.totals()).succeeded)


async def test_a_form_that_is_not_known_is_kept(backend: RedisBackend, store: RespConnection) -> None:
    """Such as that of a version to come: it is set aside and named, and the rest is claimed."""
    await join(backend)
    await backend.enqueue([NewRun(id=name, job="job") for name in ("a", "b")])
    store.command("SET", RUN, b"\x01of a version to come")
    reply = await backend.work("node", (), Claim(number=1, count=9, queues=("default",)))

    assert (["b"], ["a"]) == ([run.id for run in reply.runs], [record.id for record in reply.corrupt])
    assert b"\x01of a version to come" == store.command("GET", RUN)
