"""Entries declared in code, held against those that are stored.

A declared entry belongs to the programs that declare it. Unchanged, it keeps its place in time over a restart;
changed, it moves to the new rule; and when no running program declares it any more it is retired by whoever finds it
due. Entries added at run time are never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from attrs import define, field

from anysched.backends import Backend, EntryWrite
from anysched.clock import from_ms, to_ms
from anysched.config import ErrorContext
from anysched.entry import first_fire
from anysched.errors import EntryExists
from anysched.registry import Declaration
from anysched.runtime.telling import Teller

__all__ = ["Reconciling"]

_BATCH = 500


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
        self.program = blake2b("\n".join(lines).encode(), digest_size=10).hexdigest()

    async def declare(self, ttl_ms: int) -> None:
        """Reconcile all of them. Repeatable."""
        now = from_ms(await self.backend.time_ms())
        writes: list[EntryWrite] = []

        for declared in self.declarations:
            spec = declared.spec.anchored(now)
            first = first_fire(spec, entry_id=declared.id, now=now)
            next_ms = to_ms(first) if first is not None else 0
            # The revision is that of what was written, before it got an anchor: a restart is no change.
            writes.append(
                EntryWrite(
                    id=declared.id,
                    spec=spec.to_text(),
                    revision=declared.spec.revision,
                    next_ms=next_ms,
                    declared=True,
                )
            )

        for start in range(0, max(len(writes), 1), _BATCH):
            batch = writes[start : start + _BATCH]
            answers = await self.backend.declare(self.program, batch, ttl_ms=ttl_ms)

            for write, answer in zip(batch, answers, strict=True):
                if answer == "foreign":
                    error = EntryExists(write.id)
                    self.teller.report(error, ErrorContext(kind="tick", entry_id=write.id))
