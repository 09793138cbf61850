"""What a backend holds, drawn alike from the objects in memory and from the keys in Redis.

Two pictures that are equal show the same runs in the same places in the same order, the same leases, lines and cursors.
What only one of the two keeps, or keeps in a way of its own (nonces, tombstones, lists for people), is not in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from attrs import asdict, frozen
from msgspec.msgpack import decode

from anysched.backends.memory.state import Lock, State

from .clockwork import TEST_KEYS

__all__ = ["DUMP", "Picture", "differences", "picture_of_memory", "picture_of_redis"]

DUMP = """\
local shown = {}

for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  local content

  if kind == 'zset' then
    content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'hash' then
    content = redis.call('HGETALL', key)
  elseif kind == 'set' then
    content = redis.call('SMEMBERS', key)
  elseif kind == 'list' then
    content = redis.call('LRANGE', key, 0, -1)
  else
    content = redis.call('GET', key)
  end

  shown[#shown + 1] = {key, kind, content}
end

return shown
"""
"""Everything under a prefix."""

Lists = dict[str, list[str]]
Instants = dict[str, int]


@frozen
class Picture:
    """One backend at one instant. Nothing empty is in it."""

    ready: Lists
    """By queue, in the order of claims."""
    aside: Lists
    """By reason, queue and job."""
    due: Instants
    expiring: Instants
    waiting_of: Lists
    live_of: Lists
    held: Lists
    slots: dict[str, int]
    keys: dict[str, str]
    cancels: Lists
    leases: Instants
    lost: list[str]
    """Nodes that are gone and have runs left, in the order in which these come back."""
    hungry: list[str]
    hungry_of: Lists
    lookout: str
    paused: set[str]
    cursors: Instants
    awaiting: dict[str, tuple[str, int]]
    retired: dict[str, int]
    programs: dict[str, tuple[int, frozenset[str]]]
    locks: dict[str, tuple[str, int, int]]
    lines: dict[str, list[tuple[str, int, str]]]
    failed: set[str]
    watched: set[str]
    token: int


def differences(ours: Picture, theirs: Picture) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, and how each shows them."""
    a, b = asdict(ours, recurse=False), asdict(theirs, recurse=False)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


def _filled(lists: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in lists.items() if found}


# --- memory ----------------------------------------------------------------------------------------------------------


def picture_of_memory(state: State, now: int) -> Picture:
    """What the objects say."""
    runs = state.runs.values()
    aside = {
        f"{reason} {queue.name} {job}": _order(places)
        for queue in state.queues.values()
        for reason, places_of in (("unknown", queue.unknown), ("limit", queue.limited))
        for job, places in places_of.items()
    }
    nodes = [*state.nodes.items(), *((node.info.id, node) for node in state.emptying)]

    return Picture(
        ready=_filled({queue.name: _order(queue.ready) for queue in state.queues.values()}),
        aside=aside,
        due=_ranks(state.due),
        expiring=_ranks(state.expiries),
        waiting_of=_filled({name: list(entry.waiting) for name, entry in state.entries.items()}),
        live_of=_filled({name: list(entry.live) for name, entry in state.entries.items()}),
        held=_filled({name: list(node.runs) for name, node in nodes}),
        slots=dict(state.running_of),
        keys=dict(state.keys),
        cancels=_filled({name: list(node.cancels) for name, node in nodes}),
        leases=_ranks(state.leases),
        lost=[node.info.id for node in state.emptying],
        hungry=list(state.hungry),
        hungry_of=_filled({queue.name: list(queue.hungry) for queue in state.queues.values()}),
        lookout=state.watch,
        paused={queue.name for queue in state.queues.values() if queue.paused},
        cursors=_ranks(state.cursors),
        awaiting={name: entry.completion for name, entry in state.entries.items() if entry.completion is not None},
        retired={name: entry.retired_ms for name, entry in state.entries.items() if entry.retired_ms},
        programs={
            name: (program.expires_ms, program.ids)
            for name, program in state.programs.items()
            if program.expires_ms > now
        },
        locks={
            name: (lock.owner, lock.token, lock.expires_ms)
            for name, lock in state.locks.items()
            if lock.owner and lock.expires_ms > now
        },
        lines=_filled({name: _line(lock, now) for name, lock in state.locks.items()}),
        failed={run.id for run in runs if run.status == "failed" and (state.fading.rank(run.id) or 0) > now},
        watched={run.id for run in runs if run.watchers},
        token=state.token,
    )


def _order(places: Any) -> list[str]:
    return [name for _, name in places.lowest(len(places))]


def _ranks(places: Any) -> Instants:
    return {name: rank for rank, name in places.lowest(len(places))}


def _line(lock: Lock, now: int) -> list[tuple[str, int, str]]:
    return [(name, place.until_ms, place.inbox) for name, place in lock.line.items() if place.until_ms > now]


# --- Redis -----------------------------------------------------------------------------------------------------------


class _Keys:
    """The dump of a namespace, by kind of key."""

    def __init__(self, dump: Any, prefix: str) -> None:
        self._found: dict[str, dict[str, Any]] = defaultdict(dict)

        for key, kind, content in dump:
            name, _, rest = key.decode().removeprefix(prefix).partition(":")
            self._found[name][rest] = _content(kind.decode(), content)

    def of(self, name: str) -> dict[str, Any]:
        return self._found.get(name, {})

    def one(self, name: str, default: Any) -> Any:
        return self.of(name).get("", default)

    def names(self) -> set[str]:
        return set(self._found) - set(TEST_KEYS)


def _content(kind: str, content: Any) -> Any:
    if kind == "string":
        return content

    if kind == "zset":
        return {content[at].decode(): float(content[at + 1]) for at in range(0, len(content), 2)}

    if kind == "hash":
        return {content[at].decode(): content[at + 1] for at in range(0, len(content), 2)}

    return [item.decode() for item in content]


def picture_of_redis(dump: Any, prefix: str, now: int) -> Picture:
    """What the keys say."""
    keys = _Keys(dump, prefix)
    entries, nodes = keys.of("entry"), keys.one("nodes", {})
    runs = keys.of("run")
    _check_claims_of_sealed(keys)

    return Picture(
        ready=_lists(keys, "ready"),
        aside={_bucket(name): list(found) for name, found in keys.of("aside").items()},
        due=_instants(keys, "due"),
        expiring=_instants(keys, "expiring"),
        waiting_of=_lists(keys, "waiting-of"),
        live_of=_lists(keys, "live-of"),
        held=_lists(keys, "held"),
        slots={job: len(ids) for job, ids in keys.of("live").items()},
        keys={name: found.decode() for name, found in keys.of("key").items()},
        cancels=_lists(keys, "cancel"),
        leases={name: int(until) for name, until in nodes.items() if until >= 0},
        lost=[name for name, until in nodes.items() if until < 0],
        hungry=list(keys.one("hungry", {})),
        hungry_of=_filled({name: list(found) for name, found in keys.of("hungry").items() if name}),
        lookout=keys.one("lookout", b"").decode(),
        paused=set(keys.one("paused", ())),
        cursors=_instants(keys, "entries"),
        awaiting={
            name: (entry["awaited"].decode(), int(entry["after_ms"]))
            for name, entry in entries.items()
            if "awaited" in entry
        },
        retired={name: int(entry["retired_ms"]) for name, entry in entries.items() if "retired_ms" in entry},
        programs={
            name: (int(until), frozenset(keys.of("program").get(name, ())))
            for name, until in keys.one("programs", {}).items()
            if until > now
        },
        locks={
            name: (lock["owner"].decode(), int(lock["token"]), int(lock["until_ms"]))
            for name, lock in keys.of("lock").items()
            if int(lock["until_ms"]) > now
        },
        lines=_filled({name: _places(keys, name, now) for name in keys.of("line")}),
        failed={name for name, until in keys.one("failed-until", {}).items() if until > now},
        watched={name for name, run in runs.items() if not _is_sealed(run) and "watch" in run},
        token=int(keys.one("token", 0)),
    )


def _is_sealed(run: Any) -> bool:
    return isinstance(run, bytes)


def _check_claims_of_sealed(keys: _Keys) -> None:
    """What is held and sealed, and nothing else, has its claim beside it, and a token that this claim gave."""
    runs = keys.of("run")
    held = {
        run_id: (node, token)
        for node, tokens in keys.of("held").items()
        for run_id, token in tokens.items()
        if _is_sealed(runs[run_id])
    }
    claims = {run_id: decode(claim) for run_id, claim in keys.one("running", {}).items()}
    assert set(held) == set(claims)

    for run_id, (node, token) in held.items():
        assert node == claims[run_id]["node"]
        assert claims[run_id]["first"] <= token <= claims[run_id]["last"]
        assert run_id in keys.of("live")[claims[run_id]["job"]]


def _lists(keys: _Keys, name: str) -> Lists:
    return {rest: list(found) for rest, found in keys.of(name).items()}


def _instants(keys: _Keys, name: str) -> Instants:
    return {member: int(score) for member, score in keys.one(name, {}).items()}


def _bucket(name: str) -> str:
    reason, length, rest = name.split(" ", 2)
    return f"{reason} {rest[: int(length)]} {rest[int(length) :]}"


def _places(keys: _Keys, name: str, now: int) -> list[tuple[str, int, str]]:
    waiters = keys.of("waiters").get(name, {})
    line: list[tuple[str, int, str]] = []

    for owner in keys.of("line")[name]:
        until_ms, _, inbox = waiters[owner].decode().partition(" ")
        line.append((owner, int(until_ms), inbox))

    return [place for place in line if place[1] > now]
