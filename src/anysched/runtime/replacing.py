"""Another rule for an entry that is there.

An entry that is stored again with the rule that it has keeps its place in time: the backend sees that by the revision,
which names the rule as it was written, before a period got its anchor. One that gets another rule moves to it, and what
the old rule had due by then and nobody has fired is counted as missed: it was never to be run by the new rule, and
whoever replaced the old one does not want that to run any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from anysched.backends import Backend, Corrupt, DueEntry, EntryRecord, EntryWrite, Fire
from anysched.clock import from_ms, to_ms
from anysched.entry import EntrySpec, first_or_missed, plan_surrender
from anysched.events import FiresMissed
from anysched.identifiers import make_nonce
from anysched.runtime.requesting import entry_fire
from anysched.runtime.telling import Teller

__all__ = ["count_overdue", "entry_write", "put_entry", "surrender", "tell_missed"]


def entry_write(entry_id: str, spec: EntrySpec, now: datetime, *, declared: bool = False) -> EntryWrite:
    """What is to be stored for an entry that begins now, if its rule is not there already.

    Args:
        entry_id: its id.
        spec: its description, as it was written.
        now: the backend's time.
        declared: whether it is declared in code.
    """
    anchored = spec.anchored(now)
    first, missed = first_or_missed(anchored, entry_id=entry_id, now=now)
    return EntryWrite(
        id=entry_id,
        spec=anchored.to_text(),
        revision=spec.revision,
        next_ms=to_ms(first) if first is not None else 0,
        declared=declared,
        missed=missed,
        limit=spec.policy.limit or 0,
    )


async def put_entry(backend: Backend, write: EntryWrite, now: datetime, teller: Teller, *, replace: bool) -> bool:
    """Store an entry that is added at run time; ``False`` if there is one of that id that is not to be replaced.

    Args:
        backend: where to.
        write: what is to be stored.
        now: the backend's time.
        teller: is told of fires that are missed.
        replace: whether to take the place of one.
    """
    is_unchanged = replace and await count_overdue(backend, write, now, teller)

    if not await backend.put_entry(write, replace=replace, nonce=make_nonce()):
        return False

    if not is_unchanged:
        tell_missed(write.id, write.missed, now, teller)

    return True


async def count_overdue(backend: Backend, write: EntryWrite, now: datetime, teller: Teller) -> bool:
    """Count as missed what an entry has had due, if it is about to get another rule.

    Whoever fires it meanwhile wins: then there is nothing to count. Repeatable. What becomes due between this and the
    change itself is counted by the backend.

    Args:
        backend: where the entry is, or is not.
        write: what it will be.
        now: the backend's time.
        teller: is told.

    Returns:
        Whether the entry is there and has this very rule.
    """
    record = await surrender(backend, write.id, now, teller, spared=lambda record: _stays(record, write))
    return isinstance(record, EntryRecord) and record.revision == write.revision


async def surrender(
    backend: Backend,
    entry_id: str,
    now: datetime,
    teller: Teller,
    *,
    spared: Callable[[EntryRecord], bool] = lambda record: False,
) -> EntryRecord | Corrupt | None:
    """Count as missed what an entry has had due, as long as nobody fires it.

    Args:
        backend: where the entry is, or is not.
        entry_id: its id.
        now: the backend's time.
        teller: is told.
        spared: whether to leave alone what was found.

    Returns:
        The entry as it was found before the last look at it: nothing that was due is left of it.
    """
    while True:
        record = await backend.get_entry(entry_id)

        if not isinstance(record, EntryRecord) or record.status != "active" or spared(record):
            return record

        if (fire := _given_up(record, now)) is None:
            return record

        reply = await backend.tick(make_nonce(), [fire], count=0)

        if reply.fired[0].done:
            tell_missed(entry_id, fire.missed, from_ms(reply.now_ms), teller)


def tell_missed(entry_id: str, count: int, at: datetime, teller: Teller) -> None:
    """Tell observers of fires that were missed, if there are any."""
    if count and teller.listened_to:
        teller.tell(FiresMissed(at=at, entry_id=entry_id, count=count))


def _stays(record: EntryRecord, write: EntryWrite) -> bool:
    """Whether an entry is not changed by this: a declaration does not touch what was added."""
    return record.revision == write.revision or write.declared > record.declared


def _given_up(record: EntryRecord, now: datetime) -> Fire | None:
    """What counts as missed whatever an active entry has had due; ``None`` if that is nothing."""
    if not record.next_ms:
        return None

    due = DueEntry(
        id=record.id,
        spec=record.spec,
        revision=record.revision,
        cursor_ms=record.next_ms,
        run_count=record.run_count,
    )

    try:
        spec = EntrySpec.from_text(due.spec)
        plan = plan_surrender(spec, entry_id=due.id, cursor=from_ms(due.cursor_ms), now=now, run_count=due.run_count)
    except Exception:  # noqa: BLE001 - an old rule that is broken is no reason to refuse a new one
        return None

    return None if plan.next_at == from_ms(due.cursor_ms) else entry_fire(due, spec, plan)
