"""The end of being alone: nothing is left that was to be kept for longer than others would have to wait."""

from __future__ import annotations

from anysched.backends.memory.state import State

__all__ = ["shorten"]


def shorten(state: State, long_ms: int, ttl_ms: int) -> None:
    """Let everything that lasts for one length of time last for another one at most, from now on.

    The node that took it is gone: as a rule it has given back all but what it declared, but it may have died.
    """
    until_ms = state.now + ttl_ms

    for program in state.programs.values():
        if program.ttl_ms == long_ms:
            program.ttl_ms, program.expires_ms = ttl_ms, min(program.expires_ms, until_ms)

    for node in state.nodes.values():
        if node.info.ttl_ms == long_ms:
            node.expires_ms = min(node.expires_ms, until_ms)
            state.leases.put(node.info.id, node.expires_ms)

    for lock in state.locks.values():
        if lock.ttl_ms == long_ms:
            lock.expires_ms = min(lock.expires_ms, until_ms)
