"""The product, broken on purpose: ``ANYSCHED_TEST_BREAK=fencing pytest tests/faults tests/processes`` has to fail.

Each break is one mechanism taken away. Which tests fail of it is said in their docstrings. Applied in the test process
and in every worker process, before anything of the product has run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import anyio

from anysched import lock
from anysched.backends import Renewed
from anysched.backends.redis import backend, scripts, wire
from anysched.clock import now_ms
from anysched.runtime import leasing, node, services, ticking

VARIABLE = "ANYSCHED_TEST_BREAK"


def _replace_in_scripts(*changes: tuple[str, str, str]) -> Callable[[], None]:
    """Change the text of Lua files, given as (file, what, by what)."""

    def apply() -> None:
        read = scripts._read

        def broken(path: str) -> str:
            text = read(path)

            for file, old, new in changes:
                if path == file:
                    assert old in text, f"{file} has changed: {old!r} is not there any more"
                    text = text.replace(old, new)

            return text

        scripts._read = broken
        scripts.script.cache_clear()

    return apply


def _no_renewals() -> None:
    async def renew(self: leasing.Leasing) -> Renewed:
        await anyio.lowlevel.checkpoint()
        self._trust(anyio.current_time())
        return Renewed(lost=False, now_ms=now_ms())

    leasing.Leasing._renew = renew


def _no_trust_window() -> None:
    leasing.Leasing._distrust = lambda self, reason: None
    leasing.Leasing.trusted_now = True


def _no_shield() -> None:
    async def start(self: Any, service: Any, *, finishes: bool = False) -> Any:
        _, value = await self._group.start(self._keep, service, finishes)
        return value

    services.Services.start = start


def _endless_grace() -> None:
    node._FLUSH = 3600.0


def _lazy_followers() -> None:
    ticking._FOLLOWERS_WAIT_MS = 60_000


def _nodes_own_clock() -> None:
    decode = wire.decode_tick

    def decode_with_our_time(reply: Any) -> Any:
        import msgspec

        answer, unread = decode(reply)
        return msgspec.structs.replace(answer, now_ms=now_ms()), unread

    wire.decode_tick = decode_with_our_time

    async def time_ms(self: backend.RedisBackend) -> int:
        await anyio.lowlevel.checkpoint()
        return now_ms()

    backend.RedisBackend.time_ms = time_ms


def _locks_are_kept() -> None:
    async def give_back(self: lock._Holding) -> None:
        await anyio.lowlevel.checkpoint()

    lock._Holding._give_back = give_back


def _locks_are_never_lost() -> None:
    lock._Holding._lose = lambda self, lease: None


def _errors_end_loops() -> None:
    from anysched.backends.redis import failures

    failures._FOR_GOOD.update(failures._FOR_NOW)
    failures._is_lost = lambda error: False


BREAKS: dict[str, Callable[[], None]] = {
    # A settlement is taken from whoever sends it.
    "fencing": _replace_in_scripts(
        (
            "shared/settling.lua",
            "if run[1] ~= 'running' or tonumber(run[2]) ~= token then",
            "if run[1] ~= 'running' then",
        ),
        ("shared/outcomes.lua", "claim and token >= claim.first and token <= claim.last and", "claim and"),
    ),
    # A fire counts wherever the entry's cursor stands, and its run is made anew if it is there already.
    "cursor": _replace_in_scripts(
        ("tick.lua", "or entry.next_ms ~= fire[FIRE.cursor_ms]", ""),
        ("tick.lua", "redis.call('EXISTS', keys.run(run_id)) == 1", "redis.call('DEL', keys.run(run_id)) < 0"),
    ),
    # What a command has answered is not remembered for its repetition.
    "claim nonce": _replace_in_scripts(
        ("shared/claiming.lua", "return considering.claim_again(slot)", "return claim_new(claim)")
    ),
    "run id": _replace_in_scripts(
        ("enqueue.lua", "redis.call('EXISTS', names[number]) == 1", "redis.call('DEL', names[number]) < 0"),
        ("shared/alone.lua", "'EXISTS', ready, key, key, hungry, hungry", "'EXISTS', ready, hungry, hungry"),
    ),
    "lock owner": _replace_in_scripts(("acquire_lock.lua", "if held_by == owner then", "if false then")),
    # Tokens begin anew in an emptied store.
    "tokens": _replace_in_scripts(("shared/tokens.lua", "math.max(last + 1, clock.NOW_US)", "last + 1")),
    "reaping": _replace_in_scripts(("shared/nodes.lua", "nodes.reap(caller)\nend", "end")),
    # At maxmemory nothing can be settled.
    "relief": _replace_in_scripts(("shared/relief.lua", "redis.call('DEL'", "redis.call('APPEND'")),
    # What nobody here knows is claimed all the same.
    "unknown jobs": _replace_in_scripts(
        ("shared/considering.lua", "elseif not claims.knows(run.job) then", "elseif false then"),
        ("shared/claiming.lua", "job and claims.knows(job) and job or false", "job or false"),
    ),
    # A program forgets what other programs declare.
    "programs": _replace_in_scripts(
        ("tick.lua", "if redis.call('SISMEMBER', keys.program(program), id) == 1 then", "if false then")
    ),
    "renewals": _no_renewals,
    "trust": _no_trust_window,
    "shield": _no_shield,
    "grace": _endless_grace,
    "followers": _lazy_followers,
    "own clock": _nodes_own_clock,
    "lock release": _locks_are_kept,
    "lock loss": _locks_are_never_lost,
    "outages": _errors_end_loops,
}


def apply() -> None:
    """Break what the environment names, if it does."""
    if name := os.environ.get(VARIABLE):
        BREAKS[name]()
