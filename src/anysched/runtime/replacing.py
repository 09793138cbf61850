"""Another rule for an entry that is there.

An entry that is stored again with the rule that it has keeps its place in time: the backend sees that by the revision,
which names the rule as it was written, before a period got its anchor. One that gets another rule moves to it, and what
the old rule had due by then and nobody has fired is counted as missed: it was never to be run by the new rule, and
whoever replaced the old one does not want that to run any more.
"""

from __future__ import annotations

from datetime import datetime

from anysched.backends import Backend, Corrupt, DueEntry, EntryRecord, EntryWrite
from anysched.clock import from_ms, to_ms
from anysched.entry import EntrySpec, first_fire, plan_surrender
from anysched.events import FiresMissed
from anysched.identifiers import make_nonce
from anysched.runtime.requesting import entry_fire
from anysched.runtime.telling import Teller

__all__ = ["count_overdue", "entry_write"]


def entry_write(entry_id: str, spec: EntrySpec, now: datetime, *, declared: bool = False) -> EntryWrite:
    """What is to be stored for an entry that begins now, if its rule is not there already.

    Args:
        entry_id: its id.
        spec: its description, as it was written.
        now: the backend's time.
        declared: whether it is declared in code.
    """
    anchored = spec.anchored(now)
    first = first_fire(anchored, entry_id=entry_id, now=now)
    return EntryWrite(
        id=entry_id,
        spec=anchored.to_text(),
        revision=spec.revision,
        next_ms=to_ms(first) if first is not None else 0,
        declared=declared,
    )


async def count_overdue(backend: Backend, write: EntryWrite, now: datetime, teller: Teller) -> None:
    """Count as missed what an entry has had due, if it is about to get another rule.

    Whoever fires it meanwhile wins: then there is nothing to count. Repeatable. What becomes due between this and the
    change itself is counted by the backend.

    Args:
        backend: where the entry is, or is not.
        write: what it will be.
        now: the backend's time.
        teller: is told.
    """
    while (due := _overdue(await backend.get_entry(write.id), write, to_ms(now))) is not None:
        try:
            spec = EntrySpec.from_text(due.spec)
            plan = plan_surrender(
                spec, entry_id=due.id, cursor=from_ms(due.cursor_ms), now=now, run_count=due.run_count
            )
        except Exception:  # noqa: BLE001 - an old rule that is broken is no reason to refuse a new one
            return

        reply = await backend.tick(make_nonce(), [entry_fire(due, spec, plan)], count=0)

        if reply.fired[0].done and plan.missed and teller.listened_to:
            teller.tell(FiresMissed(at=from_ms(reply.now_ms), entry_id=due.id, count=plan.missed))


def _overdue(record: EntryRecord | Corrupt | None, write: EntryWrite, now_ms: int) -> DueEntry | None:
    """The entry as it is due, if it is, and will be changed: a declaration does not touch what was added."""
    if not isinstance(record, EntryRecord) or record.revision == write.revision or write.declared > record.declared:
        return None

    if record.status != "active" or not 0 < record.next_ms <= now_ms:
        return None

    return DueEntry(
        id=record.id,
        spec=record.spec,
        revision=record.revision,
        cursor_ms=record.next_ms,
        run_count=record.run_count,
    )
