"""Stored records that were spoiled: each fails alone, is named, and is kept for inspection."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from anysched.backends import Claim, Corrupt, EntryRecord, EntryWrite, Fire, NewRun, NodeInfo, Outcome, RunRecord
from anysched.backends.redis import RedisBackend
from anysched.errors import RecordCorrupt
from anysched.testing.resp import RespConnection

Spoil = Callable[[RespConnection, str], None]

LATER = 3_600_000
RUN = "{anysched}:run:"
ENTRY = "{anysched}:entry:"


def setting(*fields: str | bytes) -> Spoil:
    """Overwrites fields of a hash."""
    return lambda store, key: store.command("HSET", key, *fields) and None


def another_type(*words: str | bytes) -> Spoil:
    """Replaces a record by a value of another type."""

    def spoil(store: RespConnection, key: str) -> None:
        store.command("DEL", key)
        store.command(words[0], key, *words[1:])

    return spoil


def removed(store: RespConnection, key: str) -> None:
    store.command("DEL", key)


def truncated(store: RespConnection, key: str) -> None:
    store.command("HDEL", key, "job", "spec", "revision")


TYPES: dict[str, Spoil] = {
    "a text": another_type("SET", "\x00garbage"),
    "a list": another_type("RPUSH", "a"),
    "a set": another_type("SADD", "a"),
    "a sorted set": another_type("ZADD", "1", "a"),
    "an empty stream": another_type("XADD", "*", "a", "b"),
}
EVERY: dict[str, Spoil] = TYPES | {
    "removed": removed,
    "a hash of random bytes": another_type("HSET", b"\xff\x00\xfe", b"\x80\x81"),
}
OPEN: dict[str, Spoil] = EVERY | {
    "truncated": truncated,
    "a payload that is no text": setting("payload", b"\xff\xfe\x00"),
    "options that are no text": setting("options", b"\xc3("),
    "a job that is no text": setting("job", b"\xff\xff"),
    "a future version": setting("version", "9"),
    "a status that there is not": setting("status", "sleeping"),
    "an attempt that is no number": setting("attempt", "many"),
    "an attempt that is not whole": setting("attempt", "1.5"),
    "a priority that is not finite": setting("priority", "inf"),
    "a time that is no number": setting("enqueued_ms", "yesterday"),
}
SEALED: dict[str, Spoil] = EVERY | {
    "nothing": another_type("SET", b""),
    "the beginning of a seal": another_type("SET", b"\x82\xa3job"),
    "half a seal": another_type("SET", b"\x82\xa3job\xa3job\xa7payload\xa9half"),
    "fewer fields than it says": another_type("SET", b"\x84\xa3job\xa3job\xa7payload\xa1x"),
    "more fields than it says": another_type("SET", b"\x81\xa3job\xa3job\xa7payload\xa1x"),
    "more than two maps": another_type("SET", b"\x81\xa3job\xa3job\x80\x80"),
    "a table for a payload": another_type("SET", b"\x82\xa3job\xa3job\xa7payload\x92\x01\x02"),
    "a payload that is no text": another_type("SET", b"\x82\xa3job\xa3job\xa7payload\xa2\xff\xfe"),
    "a job that is no text": another_type("SET", b"\x81\xa3job\xa2\xff\xff"),
    "a job that is a number": another_type("SET", b"\x81\xa3job\x05"),
    "no job": another_type("SET", b"\x81\xa7payload\xa3job"),
    "a status that there is not": another_type("SET", b"\x81\xa3job\xa3job\x81\xa6status\xa8sleeping"),
    "a time that is no number": another_type("SET", b"\x82\xa3job\xa3job\xabenqueued_ms\xa4soon"),
}
RUNS = [
    pytest.param({"expires_ms": LATER} if form is OPEN else {}, spoil, id=f"{kind}, {name}")
    for kind, form in (("open", OPEN), ("sealed", SEALED))
    for name, spoil in form.items()
]
"""What makes a run an open one (see ``lua/shared/seals.lua``), and what is done to it."""

ENTRIES: dict[str, Spoil] = TYPES | {
    "removed": removed,
    "truncated": truncated,
    "a rule that is no text": setting("spec", b"\xff\xfe"),
    "a count that is no number": setting("run_count", "many"),
    "a fire time that is no number": setting("last_ms", "yesterday"),
    "a future version": setting("version", "9"),
}


def claim(number: int, count: int = 10) -> Claim:
    return Claim(number=number, count=count, queues=("default",))


async def join(backend: RedisBackend, *more_jobs: str) -> None:
    await backend.join(NodeInfo(id="node", ttl_ms=LATER, jobs=("job", *more_jobs), queues=("default",)))


@pytest.mark.parametrize(("more", "spoil"), RUNS)
async def test_a_spoiled_ready_run_is_set_aside(
    backend: RedisBackend, store: RespConnection, more: dict[str, int], spoil: Spoil
) -> None:
    """The claim names it, brings the others, and never meets it again; nothing of it is counted as running."""
    await join(backend)
    await backend.enqueue([NewRun(id=name, job="job", **more) for name in ("a", "spoiled", "z")])
    spoil(store, RUN + "spoiled")
    reply = await backend.work("node", (), claim(1))

    assert ["a", "z"] == [run.id for run in reply.runs]

    if not reply.corrupt:  # nobody here knows a job of such a name: that is no fault of the record's
        (record,) = await backend.get_runs(["spoiled"])
        assert isinstance(record, Corrupt)
        return

    assert ["spoiled"] == [record.id for record in reply.corrupt]
    outcomes = [Outcome(run_id=run.id, token=run.token, kind="succeeded") for run in reply.runs]
    reply = await backend.work("node", outcomes, claim(2))
    assert ((True, True), (), ()) == (reply.settled, reply.runs, reply.corrupt)
    totals = await backend.totals()
    assert (0, 0, 2, 1) == (totals.ready, totals.running, totals.succeeded, totals.corrupt)


@pytest.mark.parametrize(("more", "spoil"), RUNS)
async def test_a_spoiled_run_is_shown_as_such(
    backend: RedisBackend, store: RespConnection, more: dict[str, int], spoil: Spoil
) -> None:
    """Beside the others; whoever asks something of it is told, and no answer of the server's gets through."""
    await backend.enqueue([NewRun(id=name, job="job", **more) for name in ("a", "spoiled")])
    spoil(store, RUN + "spoiled")
    whole, spoiled = await backend.get_runs(["a", "spoiled"])
    assert isinstance(whole, RunRecord)

    if spoiled is None:  # it was removed
        assert await backend.cancel("spoiled") is None
        return

    assert isinstance(spoiled, Corrupt)
    assert "spoiled" == spoiled.id
    assert isinstance(await backend.watch("spoiled", "me"), Corrupt)

    for ask in (backend.cancel, backend.revive, backend.reschedule):
        with suppress(RecordCorrupt):  # what they need of the record may still be sound
            await ask("spoiled")

    assert {"a"} <= {run.id for run in (await backend.list_runs()).runs}


@pytest.mark.parametrize(("more", "spoil"), RUNS)
async def test_a_spoiled_running_run_harms_no_other(
    backend: RedisBackend, store: RespConnection, more: dict[str, int], spoil: Spoil
) -> None:
    """The others of the batch are settled, and the node's runs come back when it dies."""
    await join(backend)
    await backend.enqueue([NewRun(id=name, job="job", **more) for name in ("a", "spoiled", "z")])
    runs = (await backend.work("node", (), claim(1))).runs
    spoil(store, RUN + "spoiled")
    outcomes = [Outcome(run_id=run.id, token=run.token, kind="retry", delay_ms=LATER) for run in runs if run.id != "z"]
    settled = (await backend.work("node", outcomes, None)).settled

    assert settled[0] is True
    await backend.leave("node")
    a, _, z = await backend.get_runs(["a", "spoiled", "z"])
    assert isinstance(a, RunRecord)
    assert isinstance(z, RunRecord)
    assert ("retrying", "ready") == (a.status, z.status)
    assert 0 == (await backend.totals()).running


@pytest.mark.parametrize("spoil", OPEN.values(), ids=OPEN.keys())
async def test_a_spoiled_due_or_expiring_run_stops_no_housekeeping(
    backend: RedisBackend, store: RespConnection, spoil: Spoil
) -> None:
    """What is due with it becomes ready; what expires with it expires."""
    now = await backend.time_ms()
    due = [NewRun(id=name, job="job", at_ms=now + 50) for name in ("a", "spoiled", "z")]
    await backend.enqueue([*due, NewRun(id="late", job="job", expires_at_ms=now + 50)])
    await backend.enqueue([NewRun(id="spoiled too", job="job", expires_at_ms=now + 50)])
    spoil(store, RUN + "spoiled")
    spoil(store, RUN + "spoiled too")

    while await backend.time_ms() <= now + 60:
        pass

    await backend.work("nobody", (), None)
    records = await backend.get_runs(["a", "z", "late"])
    assert ["ready", "ready", "expired"] == [record.status for record in records if isinstance(record, RunRecord)]


@pytest.mark.parametrize("spoil", ENTRIES.values(), ids=ENTRIES.keys())
async def test_a_spoiled_entry_is_set_aside(backend: RedisBackend, store: RespConnection, spoil: Spoil) -> None:
    """The others are found due and fire; it is named once, shown as corrupt, and can be removed."""
    now = await backend.time_ms()

    for name in ("a", "spoiled", "z"):
        await backend.put_entry(EntryWrite(id=name, spec="s", revision="r", next_ms=now), replace=False, nonce=name)

    spoil(store, ENTRY + "spoiled")
    fires = [
        Fire(
            entry_id=name, revision="r", cursor_ms=now, next_ms=now + LATER, runs=(NewRun(id=f"of {name}", job="job"),)
        )
        for name in ("a", "spoiled")
    ]
    first = await backend.tick("first", fires, count=10)
    second = await backend.tick("second", (), count=10)

    assert first.fired[0].done
    assert ["z"] == [entry.id for entry in second.due]
    named = {record.id for record in (*first.corrupt, *second.corrupt)}
    assert named == {"spoiled"} or first.fired[1].done
    shown = {entry.id: type(entry) for entry in (await backend.list_entries()).entries}
    assert {"a", "spoiled", "z"} == set(shown)

    assert await backend.remove_entry("spoiled")
    assert await backend.get_entry("spoiled") is None


@pytest.mark.parametrize(("revision", "is_due"), [("r", True), ("r2", False)])
@pytest.mark.parametrize("spoil", ENTRIES.values(), ids=ENTRIES.keys())
async def test_a_spoiled_entry_that_is_replaced_begins_anew(
    backend: RedisBackend, store: RespConnection, spoil: Spoil, revision: str, is_due: bool
) -> None:
    """With the same rule or another, whether or not it was found due meanwhile; from then on it is as any other.

    Break: what is wrong with it stays, or it is active and nowhere found due.
    """
    now = await backend.time_ms()
    was = EntryWrite(id="a", spec="s", revision="r", next_ms=now if is_due else now + LATER)
    await backend.put_entry(was, replace=False, nonce="first")
    spoil(store, f"{ENTRY}a")
    await backend.tick("before", (), count=10)
    entry = EntryWrite(id="a", spec="new", revision=revision, next_ms=now)
    assert await backend.put_entry(entry, replace=True, nonce="again")
    reply = await backend.tick("after", (), count=10)

    assert ([("a", "new")], ()) == ([(due.id, due.spec) for due in reply.due], reply.corrupt)
    assert isinstance(await backend.get_entry("a"), EntryRecord)
    assert 0 == (await backend.totals()).corrupt


async def test_an_entry_that_is_due_since_ever_is_set_aside(backend: RedisBackend, store: RespConnection) -> None:
    """Its place in time is none; the others are found due all the same, and it is named once.

    Break: whoever ticks fails on it.
    """
    now = await backend.time_ms()

    for name in ("a", "z"):
        await backend.put_entry(EntryWrite(id=name, spec="s", revision="r", next_ms=now), replace=False, nonce=name)

    store.command("ZADD", "{anysched}:entries", "-inf", "a")
    first, second = [await backend.tick(nonce, (), count=10) for nonce in ("first", "second")]

    assert (["a"], []) == tuple([record.id for record in reply.corrupt] for reply in (first, second))
    assert [["z"], ["z"]] == [[entry.id for entry in reply.due] for reply in (first, second)]


async def test_who_is_late_to_set_an_entry_aside_leaves_a_new_one_alone(
    backend: RedisBackend, store: RespConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that arrives twice, or after the entry was replaced, sets aside only what it was about.

    Break: the new entry is active, and never found due.
    """
    sent: list[tuple[Any, ...]] = []
    call = RedisBackend._call

    async def noting(self: RedisBackend, name: str, *args: Any) -> Any:
        sent.extend([(name, *args)] if name == "quarantine_entry" else [])
        return await call(self, name, *args)

    monkeypatch.setattr(RedisBackend, "_call", noting)
    now = await backend.time_ms()
    await backend.put_entry(EntryWrite(id="a", spec="s", revision="r", next_ms=now), replace=False, nonce="first")
    setting("spec", b"\xff\xfe")(store, f"{ENTRY}a")
    assert ["a"] == [record.id for record in (await backend.tick("before", (), count=10)).corrupt]
    new = EntryWrite(id="a", spec="new", revision="r2", next_ms=now + 1)
    assert await backend.put_entry(new, replace=True, nonce="again")

    (late,) = sent
    assert [0, 0] == [await backend._call(*late) for _ in "12"]
    assert ["new"] == [due.spec for due in (await backend.tick("after", (), count=10)).due]


@pytest.mark.parametrize("spoil", TYPES.values(), ids=TYPES.keys())
async def test_a_spoiled_node_is_lost(backend: RedisBackend, store: RespConnection, spoil: Spoil) -> None:
    """It is told to join again, and what it held comes back."""
    await join(backend)
    await backend.enqueue([NewRun(id="a", job="job")])
    await backend.work("node", (), claim(1))
    spoil(store, "{anysched}:node:node")

    assert (await backend.renew("node", 1)).lost
    assert not (await backend.work("node", (), claim(2))).known
    store.command("ZADD", "{anysched}:nodes", 1, "node")
    assert ("node",) == (await backend.work("other", (), None)).lost
    (record,) = await backend.get_runs(["a"])
    assert isinstance(record, RunRecord)
    assert ("ready", 1) == (record.status, record.crashes)


@pytest.mark.parametrize("spoil", TYPES.values(), ids=TYPES.keys())
async def test_a_spoiled_lock_is_free(backend: RedisBackend, store: RespConnection, spoil: Spoil) -> None:
    """Its lease is gone with it; the next who asks has it, under a greater token."""
    first = await backend.acquire_lock("lock", "one", ttl_ms=LATER, wait_inbox=None)
    spoil(store, "{anysched}:lock:lock")

    assert not await backend.refresh_lock("lock", "one", ttl_ms=LATER)
    second = await backend.acquire_lock("lock", "two", ttl_ms=LATER, wait_inbox=None)
    assert second.token > first.token


async def test_an_id_that_is_no_text_is_set_aside(backend: RedisBackend, store: RespConnection) -> None:
    """Somebody put garbage into a queue."""
    await join(backend)
    await backend.enqueue([NewRun(id="a", job="job")])
    store.command("ZADD", "{anysched}:ready:default", 1, b"\xff\xfe")
    store.command("ZADD", "{anysched}:ready:default", 2, b"\xff\xfd")
    store.command("HSET", RUN.encode() + b"\xff\xfd", "job", "job")
    reply = await backend.work("node", (), claim(1))

    assert ["a"] == [run.id for run in reply.runs]
    assert {"\\xff\\xfe", "\\xff\\xfd"} == {record.id for record in reply.corrupt}
    assert 1 == (await backend.totals()).running


async def test_a_key_of_a_spoiled_run_is_free(backend: RedisBackend, store: RespConnection) -> None:
    """It names a live run, and there is none any more."""
    await backend.enqueue([NewRun(id="a", job="job", key="k")])
    store.command("DEL", RUN + "a")

    assert await backend.find_key("k") is None
    (made,) = await backend.enqueue([NewRun(id="b", job="job", key="k")])
    assert made.created
    assert "b" == await backend.find_key("k")


async def test_a_lost_record_blocks_neither_overlap_nor_limit(backend: RedisBackend, store: RespConnection) -> None:
    """What counts as live or running only because its record is gone is struck out when it is in the way."""
    await join(backend)
    now = await backend.time_ms()
    await backend.put_entry(EntryWrite(id="e", spec="s", revision="r", next_ms=now), replace=False, nonce="n")
    await backend.trigger("e", NewRun(id="a", job="job", entry_id="e"), overlap="skip")
    limited = Claim(number=1, count=1, queues=("default",), limits={"job": 1})
    assert 1 == len((await backend.work("node", (), limited)).runs)
    store.command("DEL", RUN + "a")

    answer = await backend.trigger("e", NewRun(id="b", job="job", entry_id="e"), overlap="skip")
    assert answer is not None
    assert 1 == answer.made
    limited = Claim(number=2, count=1, queues=("default",), limits={"job": 1})
    assert ["b"] == [run.id for run in (await backend.work("node", (), limited)).runs]


async def test_an_entry_that_waits_for_a_lost_run_goes_on(backend: RedisBackend, store: RespConnection) -> None:
    """Its next time would depend on an end that never comes; a renewal finds it."""
    await join(backend)
    now = await backend.time_ms()
    await backend.put_entry(EntryWrite(id="e", spec="s", revision="r", next_ms=now), replace=False, nonce="n")
    fire = Fire(
        entry_id="e",
        revision="r",
        cursor_ms=now,
        next_ms=0,
        end="completion",
        after_ms=10,
        runs=(NewRun(id="a", job="job", entry_id="e"),),
    )
    await backend.tick("first", [fire], count=0)
    store.command("DEL", RUN + "a")
    await backend.renew("node", LATER)
    entry = await backend.get_entry("e")

    assert getattr(entry, "next_ms", 0) > now
