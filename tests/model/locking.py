"""Histories of locks."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from .machine import INBOXES, Machine, some_ms

__all__ = ["LockMachine"]

OWNERS = ("x", "y", "z")

a_lock = st.sampled_from(("lock", "lock", "lock", "other"))


class LockMachine(Machine):
    """Somebody who does anything with locks."""

    @rule(name=a_lock, owner=st.sampled_from(OWNERS), ttl_ms=some_ms, inbox=st.sampled_from((*INBOXES, None)))
    def acquire_lock(self, name: str, owner: str, ttl_ms: int, inbox: str | None) -> None:
        held = self.state.locks.get(name)
        had = held.token if held is not None and held.owner == owner and held.expires_ms > self.twins.now else 0
        answer = self.do("lock", lambda backend: backend.acquire_lock(name, owner, ttl_ms=ttl_ms, wait_inbox=inbox))

        if answer.token and answer.token != had:
            self.note_token(answer.token)

    @rule(name=a_lock, owner=st.sampled_from(OWNERS), ttl_ms=some_ms)
    def refresh_lock(self, name: str, owner: str, ttl_ms: int) -> None:
        self.do("lock", lambda backend: backend.refresh_lock(name, owner, ttl_ms=ttl_ms))

    @rule(name=a_lock, owner=st.sampled_from(OWNERS))
    def release_lock(self, name: str, owner: str) -> None:
        self.do("lock", lambda backend: backend.release_lock(name, owner))
