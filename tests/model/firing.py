"""Histories of entries, and of the runs that these make."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from anysched.backends import Backend, EntryWrite, Fire, NewRun, TickReply

from .machine import there_are
from .running import PROGRAMS, RunDraft, RunMachine, drafts

__all__ = ["EntryMachine"]

ENTRIES = ("e", "f")
POLICIES = ("skip", "queue_one", "queue_all", "cancel_previous", "allow")


fires: dict[str, st.SearchStrategy[Any]] = {
    "number": st.sampled_from((0, 0, 0, 1, 2, 4)),
    "step": st.sampled_from((1, 700, 700, "finished", "completion")),
    "wanted": st.lists(drafts(entry=True), max_size=3),
    "missed": st.sampled_from((0, 0, 2)),
    "overlap": st.sampled_from(POLICIES),
    "limit": st.sampled_from((0, 0, 1, 3)),
    "count": st.integers(0, 2),
    "rivals": st.sampled_from((0, 0, 1)),
}


class EntryMachine(RunMachine):
    """Somebody who does anything with entries, and with runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, int]] = []
        """Entries as they are or were: id, revision and cursor."""

    @initialize(ahead=st.sampled_from((0, 0, 500)))
    def begin_with_an_entry(self, ahead: int) -> None:
        self.put_entry("e", 0, ahead, replace=False, declared=False)

    @property
    def entries(self) -> list[str]:
        return list(self.state.entries)

    @property
    def active(self) -> list[tuple[str, str, int]]:
        entries = self.state.entries.values()
        return [(one.id, one.revision, one.next_ms) for one in entries if one.status == "active" and one.next_ms]

    def look_back(self, name: str, before: Any) -> None:
        """A cursor goes forward, but by the hand of somebody who puts it elsewhere."""
        was = {} if before is None else before.entries
        now = {} if self.twins.shown is None else self.twins.shown.entries

        for entry_id, entry in now.items():
            moved = name in {"put_entry", "declare", "resume_entry"} or entry_id not in was

            if not moved and was[entry_id].revision == entry.revision and entry.next_ms:
                assert entry.next_ms >= was[entry_id].next_ms

            found = (entry_id, entry.revision, entry.next_ms)

            if entry.status == "active" and entry.next_ms and found not in self.seen[-1:]:
                self.seen = [*(one for one in self.seen[-5:] if one != found), found]

    def entry(
        self, entry_id: str, revision: int, ahead: int | None, declared: bool = False, limit: int = 0
    ) -> EntryWrite:
        return EntryWrite(
            id=entry_id,
            spec=f"spec {revision}",
            revision=f"v{revision}",
            next_ms=0 if ahead is None else self.twins.now + ahead,
            declared=declared,
            missed=int(ahead is None),
            limit=limit,
        )

    @rule(
        entry_id=st.sampled_from(ENTRIES),
        revision=st.integers(0, 1),
        ahead=st.sampled_from((0, 0, 1, 500, None)),
        replace=st.booleans(),
        declared=st.sampled_from((False, False, True)),
        limit=st.sampled_from((0, 0, 1)),
    )
    def put_entry(
        self, entry_id: str, revision: int, ahead: int | None, *, replace: bool, declared: bool, limit: int = 0
    ) -> None:
        write, nonce = self.entry(entry_id, revision, ahead, declared, limit), self.fresh("p")
        self.do("put_entry", lambda backend: backend.put_entry(write, replace=replace, nonce=nonce))

    @rule(
        program=st.sampled_from(PROGRAMS),
        entries=st.dictionaries(
            st.sampled_from(ENTRIES), st.tuples(st.integers(0, 1), st.sampled_from((0, 500, None)))
        ),
        ttl_ms=st.sampled_from((1, 2_000, 60_000)),
    )
    def declare(self, program: str, entries: dict[str, tuple[int, int | None]], ttl_ms: int) -> None:
        writes = [self.entry(name, revision, ahead) for name, (revision, ahead) in entries.items()]
        self.do("declare", lambda backend: backend.declare(program, writes, ttl_ms=ttl_ms))

    @there_are("entries")
    @rule(entry_id=st.sampled_from(ENTRIES), note=st.sampled_from(("", "why")))
    def pause_entry(self, entry_id: str, note: str) -> None:
        self.do("pause_entry", lambda backend: backend.pause_entry(entry_id, note))

    @there_are("entries")
    @rule(entry_id=st.sampled_from(ENTRIES), revision=st.integers(0, 1), ahead=st.sampled_from((0, 500, None)))
    def resume_entry(self, entry_id: str, revision: int, ahead: int | None) -> None:
        next_ms = None if ahead is None else self.twins.now + ahead
        self.do(
            "resume_entry", lambda backend: backend.resume_entry(entry_id, revision=f"v{revision}", next_ms=next_ms)
        )

    @rule(entry_id=st.sampled_from(ENTRIES), limit=st.sampled_from((1, 2, 50)))
    def list_entries(self, entry_id: str, limit: int) -> None:
        self.twins.compare_entries(entry_id, limit)

    @there_are("entries")
    @rule(entry_id=st.sampled_from(ENTRIES))
    def remove_entry(self, entry_id: str) -> None:
        self.do("remove_entry", lambda backend: backend.remove_entry(entry_id))

    @there_are("seen")
    @rule(**fires)
    def tick_more(self, **fields: Any) -> None:
        self.tick(**fields)

    @there_are("seen")
    @rule(**fires)
    def tick(
        self,
        *,
        number: int,
        step: Any,
        wanted: list[RunDraft],
        missed: int,
        overlap: str,
        limit: int,
        count: int,
        rivals: int,
    ) -> None:
        known = self.active if number < 2 and self.active else self.seen
        entry_id, revision, cursor_ms = known[-1 - number % len(known)]
        # Nobody fires what is not due yet.
        self.twins.pass_time(max(cursor_ms * 1000 - self.twins.micros, 0))
        fire = Fire(
            entry_id=entry_id,
            revision=revision,
            cursor_ms=cursor_ms,
            next_ms=cursor_ms + step if isinstance(step, int) else 0,
            end="" if isinstance(step, int) else step,
            after_ms=100,
            runs=self.fired(entry_id, cursor_ms, wanted),
            missed=missed,
            overlap=overlap,
            limit=limit,
        )

        # Several nodes may find the same entry due, and decide the same.
        for nonce in [self.fresh("t") for _ in range(1 + rivals)]:
            self.do("tick", partial(self.send_fire, nonce, fire, count))

    @staticmethod
    async def send_fire(nonce: str, fire: Fire, count: int, backend: Backend) -> TickReply:
        return await backend.tick(nonce, [fire], count=count)

    def fired(self, entry_id: str, cursor_ms: int, wanted: list[RunDraft]) -> tuple[NewRun, ...]:
        """The runs of a fire; their ids come from the fire times, so that a second fire makes the same."""
        names = [f"{entry_id}@{cursor_ms}+{number}" for number in range(len(wanted))]
        runs = [
            self.run_of(draft, id=name, entry_id=entry_id, scheduled_for_ms=cursor_ms + number)
            for number, (name, draft) in enumerate(zip(names, wanted, strict=True))
        ]
        self.twins.run_ids.update(dict.fromkeys(names))
        return tuple(runs)

    @rule(count=st.integers(0, 3), skip=st.integers(0, 2))
    def look(self, count: int, skip: int) -> None:
        nonce = self.fresh("t")
        self.do("tick", lambda backend: backend.tick(nonce, (), count=count, skip=skip))

    @there_are("entries")
    @rule(entry_id=st.sampled_from(ENTRIES), draft=drafts(), overlap=st.sampled_from(POLICIES))
    def trigger(self, entry_id: str, draft: RunDraft, overlap: str) -> None:
        run = self.run_of(draft, entry_id=entry_id)
        self.do("trigger", lambda backend: backend.trigger(entry_id, run, overlap=overlap))
