"""Entries declared in code, held against those that are stored.

A declared entry belongs to the programs that declare it. Unchanged, it keeps its place in time over a restart;
changed, it moves to the new rule, and what the old one had due is counted as missed; and when no running program
declares it any more it is retired by whoever finds it due. Entries added at run time are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import define, field

from anysched.backends import Backend, EntryWrite
from anysched.clock import from_ms, to_ms
from anysched.config import ErrorContext
from anysched.errors import EntryExists
from anysched.identifiers import digest, make_nonce
from anysched.registry import Declaration
from anysched.runtime.replacing import count_overdue, entry_write, tell_missed
from anysched.runtime.telling import Teller

__all__ = ["Reconciling"]


@define(eq=False, kw_only=True)
class Reconciling:
    """Makes a program's declared entries known.

    Args:
        backend: where entries are.
        declarations: what the program declares.
        teller: told of what could not be done.
    """

    backend: Backend
    declarations: Sequence[Declaration]
    teller: Teller
    program: str = field(init=False)
    """Names this set of declarations: nodes of one version of one program share it."""

    def __attrs_post_init__(self) -> None:
        lines = sorted(f"{declared.id}\0{declared.spec.revision}" for declared in self.declarations)
        self.program = digest("\n".join(lines).encode(), 10).hex()

    async def declare(self, ttl_ms: int) -> None:
        """Reconcile all of them. Repeatable."""
        now = from_ms(await self.backend.time_ms())
        writes = [entry_write(declared.id, declared.spec, now, declared=True) for declared in self.declarations]
        await self._count_overdue(writes, now)

        # In one step, however many: what a program declares is what its last declaration named, and nothing else.
        answers = await self.backend.declare(self.program, writes, ttl_ms=ttl_ms)

        for write, answer in zip(writes, answers, strict=True):
            if answer == "foreign":
                error = EntryExists(write.id)
                self.teller.report(error, ErrorContext(kind="tick", entry_id=write.id))
            elif answer != "kept":
                tell_missed(write.id, write.missed, now, self.teller)

    async def _count_overdue(self, writes: Sequence[EntryWrite], now: datetime) -> None:
        """What changed entries have had due would be lost with their old rules; it is counted as missed."""
        if not writes:
            return

        first_ms = (await self.backend.tick(make_nonce(), (), count=0)).next_due_ms
        is_overdue = 0 < first_ms <= to_ms(now)

        # Where somebody fires entries none is overdue, and they need not be read, unless jitter has put a fire off.
        for declared, write in zip(self.declarations, writes, strict=True):
            if is_overdue or declared.spec.policy.jitter:
                await count_overdue(self.backend, write, now, self.teller)
