"""Locks: who holds each, until when, and who is next."""

from __future__ import annotations

from anysched.backends.memory.state import Lock, State, Waiter
from anysched.backends.records import Hint, LockAnswer

__all__ = ["acquire", "refresh", "release"]

MOST_SWEPT = 2


def acquire(state: State, name: str, owner: str, ttl_ms: int, wait_inbox: str | None) -> LockAnswer:
    """Take a lock, or a place in its line."""
    _sweep(state)

    if (lock := state.locks.get(name)) is None:
        lock = state.locks[name] = Lock()

    until_ms = state.now + ttl_ms
    first = _settle_line(state, lock)

    if lock.owner == owner:
        lock.ttl_ms, lock.expires_ms = ttl_ms, until_ms

    elif not lock.owner and first in {None, owner}:
        lock.line.pop(owner, None)
        lock.owner, lock.token = owner, state.next_token()
        lock.ttl_ms, lock.expires_ms = ttl_ms, until_ms

    else:
        if wait_inbox is not None:
            _stand(lock, owner, wait_inbox, until_ms)
            _remember_end(state, name, until_ms)

        _call_first(state, name, lock)
        return LockAnswer(0, lock.expires_ms if lock.owner else _first_until(lock), state.now)

    _remember_end(state, name, until_ms)
    return LockAnswer(lock.token, lock.expires_ms, state.now)


def refresh(state: State, name: str, owner: str, ttl_ms: int) -> bool:
    """Extend a held lock."""
    lock = state.locks.get(name)

    if lock is None or lock.owner != owner or lock.expires_ms <= state.now:
        return False

    lock.ttl_ms, lock.expires_ms = ttl_ms, state.now + ttl_ms
    _remember_end(state, name, lock.expires_ms)
    return True


def release(state: State, name: str, owner: str) -> bool:
    """Give a lock back, or leave its line."""
    if (lock := state.locks.get(name)) is None:
        return False

    first = _settle_line(state, lock)
    held = lock.owner == owner
    waited = lock.line.pop(owner, None) is not None

    if held:
        lock.owner = ""

    if held or first == owner:
        _call_first(state, name, lock)

    if not lock.owner and not lock.line:
        del state.locks[name]
        state.lock_ends.discard(name)

    return held or waited


def _settle_line(state: State, lock: Lock) -> str | None:
    """End what has run out; who is first in the line now."""
    if lock.expires_ms <= state.now:
        lock.owner = ""

    while lock.line:
        first = next(iter(lock.line))

        if lock.line[first].until_ms > state.now:
            return first

        del lock.line[first]

    return None


def _stand(lock: Lock, owner: str, inbox: str, until_ms: int) -> None:
    if (place := lock.line.get(owner)) is None:
        lock.line[owner] = Waiter(inbox, until_ms)
    else:
        place.inbox, place.until_ms = inbox, until_ms


def _call_first(state: State, name: str, lock: Lock) -> None:
    """Tell the first in the line of a free lock that it is its turn."""
    if not lock.owner and (first := _settle_line(state, lock)) is not None:
        state.hints.append((lock.line[first].inbox, Hint("lock", name, owner=first)))


def _first_until(lock: Lock) -> int:
    return next((place.until_ms for place in lock.line.values()), 0)


def _remember_end(state: State, name: str, until_ms: int) -> None:
    """Note that something of a lock counts until then, and that it is not to be swept before."""
    state.lock_ends.put(name, max(until_ms, state.lock_ends.rank(name) or 0))


def _sweep(state: State) -> None:
    for _ in range(MOST_SWEPT):
        if (found := state.lock_ends.first()) is None or found[0] > state.now:
            return

        del state.locks[found[1]]
        state.lock_ends.pop()
