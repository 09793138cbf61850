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

from anysched.backends.redis import RedisBackend
from anysched.testing.resp import Address, RespConnection

from .furniture import INNOCENT, Day, furnish

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
    "node": (b"hungry", b"lost", b"claim0", b"nonce0", b"turn"),
}
"""Fields that are not always there."""

WORKS_ON = {"HSET": "hash", "HDEL": "hash", "ZADD": "zset", "SADD": "set", "LPUSH": "list"}
"""Commands that change what is there."""

MEMBERS = (JUNK, b"nobody", b"", b"done", b"a\nb")
SCORES = ("-1e300", "1", "1e15", "inf", "-inf", "0.5")


@pytest.fixture
def own(redis_url: str) -> Iterator[RespConnection]:
    with RespConnection(Address.from_url(redis_url)) as connection:
        yield connection


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
}
SAMPLED = 40


@pytest.mark.slow
@pytest.mark.parametrize("kind", HARMS)
async def test_a_harmed_record_harms_nobody_else(own: RespConnection, backend: RedisBackend, kind: str) -> None:
    """A sample of all harms, the same each time."""
    await furnish(backend)
    harms = HARMS[kind](own)

    for harm in random.Random(kind).sample(harms, min(SAMPLED, len(harms))):
        await (await spend_a_day(own, backend, harm)).clear()


@pytest.mark.nightly
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
