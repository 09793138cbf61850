"""Whatever somebody does to one record in Redis, that record alone is out of use, and it is said which.

Each test furnishes a store with one of everything, harms one thing in it behind the library's back, and lets a node do
a day's work and people meddle. No error but `RecordCorrupt` may leave an operation, and everybody else's runs are done.

Not asked for: what happens when a whole index (``ready:<queue>``, ``nodes``, ``due`` and the like) is replaced by
another type. That is not a record any more; operations that need it fail with `BackendError` until it is put right.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from anysched.backends import Corrupt
from anysched.backends.redis import RedisBackend
from anysched.testing.resp import Address, RespConnection

from .furniture import INNOCENT, Day, furnish, new_run

Harm = tuple[str, tuple[str | bytes | float, ...]]
"""A key, and the command that harms it."""

PREFIX = "{anysched}:"
JUNK = b"\xff\x00\xfe"

OTHER_TYPES: dict[str, tuple[str | bytes, ...]] = {
    "string": ("SET", JUNK),
    "list": ("RPUSH", JUNK, b"x"),
    "set": ("SADD", JUNK, b"x"),
    "zset": ("ZADD", "1", JUNK, "2", b"nobody"),
    "hash": ("HSET", JUNK, JUNK, b"status", JUNK),
}
RECORDS = (
    "run",
    "entry",
    "node",
    "key",
    "lock",
    "line",
    "waiters",
    "finished",
    "token",
    "totals",
    "sequence",
    "lookout",
    "memo",
    "program",
    "jobs",
)

VALUES = (
    *(b"", JUNK, b"x" * 10, b"-1", b"1.5", b"nan", b"inf", b"-inf", b"1e300", b"9" * 23),
    *(b"ready", b"running", b"succeeded", b"0x10", b"\n", b"\x81\xa1"),
)
"""What is put into the fields of hashes."""

MORE_FIELDS = {
    "run": (
        *(b"version", b"crash_times", b"set_aside", b"cancel_requested", b"settled", b"errors", b"watch", b"taken"),
        *(b"crashes", b"entry_id", b"key", b"status", b"node", b"priority", b"queue", b"progress"),
    ),
    "entry": (b"version", b"awaited", b"after_ms", b"last_runs", b"declared", b"note", b"live"),
    "node": (b"hungry", b"lost", b"claim1", b"number1"),
}
"""Fields that are not always there."""

WORKS_ON = {"HSET": "hash", "HDEL": "hash", "ZADD": "zset", "SADD": "set", "LPUSH": "list", "SET": "string"}
"""Commands that change what is there."""

MEMBERS = (JUNK, b"nobody", b"", b"done", b"a\nb")
SCORES = ("-1e300", "1", "1e15", "inf", "-inf", "0.5")


@pytest.fixture
def own(redis_url: str) -> Iterator[RespConnection]:
    with RespConnection(Address.from_url(redis_url)) as connection:
        yield connection


@pytest.fixture(autouse=True)
def everybody_listens(redis_url: str) -> Iterator[None]:
    with RespConnection(Address.from_url(redis_url)) as connection:
        connection.command("PSUBSCRIBE", f"{PREFIX}hint:*")
        yield


@pytest.fixture
async def backend(redis_url: str) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend.from_url(redis_url)

    async with anyio.create_task_group() as services:
        await services.start(backend.run)
        yield backend
        services.cancel_scope.cancel()


def keys_by_type(own: RespConnection) -> dict[str, str]:
    keys = own.command("KEYS", "*")
    assert isinstance(keys, list)
    return {str(key, "utf-8"): str(own.command("TYPE", key)) for key in keys if isinstance(key, bytes)}


def kind_of(key: str) -> str:
    return key.removeprefix(PREFIX).partition(":")[0]


def in_another_type(own: RespConnection) -> list[Harm]:
    return [
        (key, (command[0], key, *command[1:]))
        for key, kind in keys_by_type(own).items()
        for name, command in OTHER_TYPES.items()
        if name != kind and kind_of(key) in RECORDS
    ]


def in_its_fields(own: RespConnection) -> list[Harm]:
    found: list[Harm] = []

    for key in [key for key, kind in keys_by_type(own).items() if kind == "hash"]:
        there = own.command("HKEYS", key)
        assert isinstance(there, list)
        fields = {field for field in there if isinstance(field, bytes)} | {*MORE_FIELDS.get(kind_of(key), ())}
        found += [(key, ("HSET", key, field, value)) for field in sorted(fields) for value in VALUES]

    return found


def in_its_members(own: RespConnection) -> list[Harm]:
    found: list[Harm] = []

    for key, kind in keys_by_type(own).items():
        commands: dict[str, list[tuple[str | bytes, ...]]] = {
            "zset": [("ZADD", key, score, member) for member in MEMBERS for score in SCORES],
            "set": [("SADD", key, member) for member in MEMBERS],
            "list": [("LPUSH", key, member) for member in MEMBERS],
            "string": [("SET", key, member) for member in MEMBERS],
        }
        found += [(key, command) for command in commands.get(kind, [])]

    return found


def cut_off(own: RespConnection) -> list[Harm]:
    """Every record without one of its fields."""
    found: list[Harm] = []

    for key in [key for key, kind in keys_by_type(own).items() if kind == "hash"]:
        there = own.command("HKEYS", key)
        assert isinstance(there, list)
        found += [(key, ("HDEL", key, field)) for field in there if isinstance(field, bytes)]

    return found


def contents(own: RespConnection) -> list[tuple[tuple[str | bytes, ...], bytes]]:
    """Every value that is there, and the command that writes another one in its place."""
    found: list[tuple[tuple[str | bytes, ...], bytes]] = []

    for key, kind in keys_by_type(own).items():
        if kind == "hash":
            flat = own.command("HGETALL", key)
            assert isinstance(flat, list)
            texts = [part for part in flat if isinstance(part, bytes)]
            found += [(("HSET", key, name), value) for name, value in zip(texts[::2], texts[1::2], strict=True)]
        elif kind == "string":
            value = own.command("GET", key)
            assert isinstance(value, bytes)
            found.append((("SET", key), value))

    return found


def truncated(own: RespConnection) -> list[Harm]:
    """Every value cut in half, and without its last byte."""
    cuts = [(command, value[:end]) for command, value in contents(own) for end in {len(value) // 2, len(value) - 1}]
    return [(str(command[1]), (*command, text)) for command, text in cuts]


def random_bytes(own: RespConnection) -> list[Harm]:
    """Every value filled with bytes of chance: as many, and one, and many."""
    chance = random.Random("bytes")
    return [
        (str(command[1]), (*command, chance.randbytes(size)))
        for command, value in contents(own)
        for size in (len(value), 1, 200)
    ]


def in_a_version_to_come(own: RespConnection) -> list[Harm]:
    """Every record that has fields."""
    hashes = [key for key, kind in keys_by_type(own).items() if kind == "hash"]
    return [(key, ("HSET", key, b"version", version)) for key in hashes for version in (b"2", b"99", b"next")]


def victims(key: str) -> set[str]:
    """What need not be claimed when this was harmed."""
    name = key.rpartition(":")[2]
    return {name, "fired"} if name == "due" else {name}


async def spend_a_day(own: RespConnection, backend: RedisBackend, harm: Harm) -> Day:
    own.command("FLUSHDB")
    day = await furnish(backend)
    key, command = harm

    if WORKS_ON.get(str(command[0])) != keys_by_type(own)[key]:
        own.command("DEL", key)

    own.command(*command)
    await day.work()
    await day.meddle()
    assert INNOCENT - victims(key) <= day.claimed, harm
    return day


HARMS = {
    "another type": in_another_type,
    "bad fields": in_its_fields,
    "bad members": in_its_members,
    "fields cut off": cut_off,
    "truncated": truncated,
    "random bytes": random_bytes,
    "a version to come": in_a_version_to_come,
}
SAMPLED = 12


@pytest.mark.slow
@pytest.mark.parametrize("kind", HARMS)
async def test_a_harmed_record_harms_nobody_else(own: RespConnection, backend: RedisBackend, kind: str) -> None:
    """A sample of all harms, the same each time."""
    await furnish(backend)
    harms = HARMS[kind](own)

    for harm in random.Random(kind).sample(harms, min(SAMPLED, len(harms))):
        await (await spend_a_day(own, backend, harm)).clear()


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", HARMS)
async def test_no_harmed_record_harms_anybody_else(own: RespConnection, backend: RedisBackend, kind: str) -> None:
    """Every one of some seven thousand."""
    await furnish(backend)

    for harm in HARMS[kind](own):
        await (await spend_a_day(own, backend, harm)).clear()


RUNS = ("run:ready", "run:strange", "run:limit2", "run:later", "run:done")
NAMED = [
    *((key, harm) for key in (*RUNS, "run:held", "entry:due") for harm in (("SET", JUNK), ("RPUSH", JUNK))),
    *((key, ("HSET", "version", version)) for key in RUNS for version in ("2", JUNK)),
]


@pytest.mark.parametrize(("key", "harm"), NAMED, ids=lambda value: str(value)[:40])
async def test_a_harmed_record_is_named_and_kept(
    own: RespConnection, backend: RedisBackend, key: str, harm: tuple[str | bytes, ...]
) -> None:
    """A record of another type, or of a version to come: in a reply or by `RecordCorrupt`, and it is left as it is."""
    day = await furnish(backend)
    key = PREFIX + key

    if harm[0] != "HSET":
        own.command("DEL", key)

    own.command(harm[0], key, *harm[1:])
    kept = own.command("DUMP", key)
    await day.work()
    await day.meddle()
    assert day.names(key.rpartition(":")[2])
    assert kept == own.command("DUMP", key)
    assert INNOCENT - victims(key) <= day.claimed
    assert (await backend.totals()).corrupt >= 1


@pytest.mark.parametrize("version", ["2", JUNK])
async def test_an_entry_of_a_version_to_come_is_named_and_kept(
    own: RespConnection, backend: RedisBackend, version: str | bytes
) -> None:
    """It is not fired by who cannot know what it means, and not shown half; the rest goes on.

    Break: only the version of a run is looked at.
    """
    day = await furnish(backend)
    key = f"{PREFIX}entry:due"
    own.command("HSET", key, "version", version)
    kept = own.command("DUMP", key)
    await day.work()
    await day.ask(backend.get_entry("due"))
    page = await backend.list_entries()

    assert day.names("due")
    assert "due" in {entry.id for entry in page.entries if isinstance(entry, Corrupt)}
    assert kept == own.command("DUMP", key)
    assert {"fresh", "ready", "ready2", "strange"} <= day.claimed


async def test_a_hungry_node_whose_jobs_were_harmed_is_handed_nothing(
    own: RespConnection, backend: RedisBackend
) -> None:
    """What is enqueued alone is queued then, as for anybody else.

    Break: whoever enqueues is told of the harm to a node's key, and nothing can be enqueued.
    """
    await furnish(backend)
    own.command("DEL", f"{PREFIX}jobs:old")
    own.command("SET", f"{PREFIX}jobs:old", JUNK)
    await backend.enqueue([new_run("alone", queue="other")])
    (run,) = await backend.get_runs(["alone"])
    assert "ready" == getattr(run, "status", "")
