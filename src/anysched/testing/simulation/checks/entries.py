"""Every fire time of every entry: made into a run, or counted as missed or skipped; once, and none forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from anysched.backends import EntryRecord, EntryWrite, Fire, FireAnswer
from anysched.clock import from_ms, to_ms
from anysched.entry import EntrySpec
from anysched.schedules import Every

from ..history import Command, Happened, History
from .leases import when

__all__ = ["check_entries"]

_REMEMBERED = 10_000_000
"""Microseconds for which a nonce is known."""

_LATEST_MS = 3_000
"""What was due so long ago has been fired, when nothing is the matter."""


@define(eq=False)
class _Account:
    """What is known of one entry."""

    spec: EntrySpec
    revision: str
    status: str = "active"
    retired: bool = False
    cursor_ms: int | None = None
    """The fire that it waits for; ``None`` while that depends on the end of a run."""
    earliest_ms: int = 0
    """Of a cursor that is not known."""
    runs: dict[str, int] = field(factory=dict[str, int], init=False)
    missed: int = 0
    doubtful: int = 0
    """Given up when they may have been due: their time depended on the end of a run."""
    skipped: int = 0
    has_limit: bool = False

    def give_up(self, at: int) -> None:
        """Count what it has had due as missed."""
        if self.retired:
            self.missed += 1
        elif self.status == "active" and self.cursor_ms is None:
            self.doubtful += self.earliest_ms * 1000 <= at
        elif self.status == "active":
            self.missed += 0 < (self.cursor_ms or 0) * 1000 <= at


def check_entries(history: History) -> Iterator[str]:
    """What went wrong with fires."""
    book = _Book()

    for record in history.records:
        if isinstance(record, Command):
            book.take(record)
        elif isinstance(record, Happened) and record.what == "settled":
            book.check_due(record.at)

    finals = dict(note.detail for note in history.happened("final run"))
    stored = {note.detail.id: note.detail for note in history.happened("final entry")}

    for entry_id, account in book.accounts.items():
        if account.status != "removed":
            book.check_final(entry_id, account, stored.get(entry_id), finals)

    yield from book.found


@define(eq=False)
class _Book:
    accounts: dict[str, _Account] = field(factory=dict[str, _Account], init=False)
    nonces: dict[str, tuple[int, Any]] = field(factory=dict[str, "tuple[int, Any]"], init=False)
    made: dict[tuple[str, int], str] = field(factory=dict[tuple[str, int], str], init=False)
    found: list[str] = field(factory=list[str], init=False)

    def complain(self, about: str, at: int) -> None:
        self.found.append(f"{about}, at {when(at)}")

    def take(self, command: Command) -> None:
        arguments, answer, at = command.arguments, command.answer, command.at

        match command.name:
            case "put_entry" if answer and not self._is_repeated(f"put {arguments['nonce']}", True, at):
                self._put(arguments["entry"], at)
            case "declare":
                self._declared(arguments["entries"], answer, at)
            case "pause_entry" if answer:
                self.accounts[arguments["entry_id"]].give_up(at)
                self._set(arguments["entry_id"], {"active": "paused"})
            case "resume_entry" if answer:
                self._resumed(arguments["entry_id"], arguments["next_ms"])
            case "remove_entry" if answer:
                self._set(arguments["entry_id"], dict.fromkeys(("active", "paused", "finished"), "removed"))
            case "tick":
                self._ticked(command)
            case _:
                pass

    def _is_repeated(self, nonce: str, answer: Any, at: int) -> bool:
        known = self.nonces.get(nonce)

        if known is None or (known[1] != answer and at - known[0] >= _REMEMBERED):
            self.nonces[nonce] = (at, answer)
            return False

        if known[1] != answer:
            self.complain(f"a command was answered {answer} when it was repeated, and {known[1]} before", at)

        return True

    # --- entries -----------------------------------------------------------------------------------------------

    def _put(self, write: EntryWrite, at: int) -> None:
        spec = EntrySpec.from_text(write.spec)
        account = self.accounts.get(write.id)

        if account is None or account.status == "removed":
            account = self.accounts[write.id] = _Account(spec, write.revision)
        elif account.revision == write.revision:
            account.status = "active" if account.retired else account.status
            account.retired = False
            return
        else:
            account.give_up(at)

        account.spec, account.revision, account.retired = spec, write.revision, False
        account.missed += write.missed
        account.cursor_ms = write.next_ms
        account.has_limit = account.has_limit or spec.policy.limit is not None

        if account.status != "paused":
            is_used_up = 0 < write.limit <= len(account.runs)
            account.status = "active" if write.next_ms and not is_used_up else "finished"

    def _declared(self, writes: list[EntryWrite], answers: list[str], at: int) -> None:
        for write, answer in zip(writes, answers, strict=True):
            if answer in ("added", "moved"):
                self._put(write, at)

    def _set(self, entry_id: str, moves: dict[str, str]) -> None:
        account = self.accounts[entry_id]
        account.status = moves.get(account.status, account.status)

    def _resumed(self, entry_id: str, next_ms: int | None) -> None:
        account = self.accounts[entry_id]

        if account.status == "paused":
            account.status = "active" if next_ms else "finished"
            account.cursor_ms = next_ms or 0

    # --- fires -------------------------------------------------------------------------------------------------

    def _ticked(self, command: Command) -> None:
        fires, reply = command.arguments["fires"], command.answer

        if fires and not self._is_repeated(f"tick {command.arguments['nonce']}", reply.fired, command.at):
            for fire, answer in zip(fires, reply.fired, strict=True):
                if answer.done:
                    self._fired(self.accounts[fire.entry_id], fire, answer, command.at)

        for entry_id in reply.retired:
            self.accounts[entry_id].status = "finished"
            self.accounts[entry_id].retired = True

    def _fired(self, account: _Account, fire: Fire, answer: FireAnswer, at: int) -> None:
        about = f"entry {fire.entry_id} fired for {when(fire.cursor_ms * 1000)}"

        if account.status != "active":
            self.complain(f"{about}, and was {account.status}", at)
        elif account.cursor_ms is not None and account.cursor_ms != fire.cursor_ms:
            self.complain(f"{about}, and waited for {when(account.cursor_ms * 1000)}", at)
        elif account.cursor_ms is None and fire.cursor_ms < account.earliest_ms:
            self.complain(f"{about}, before its last run had ended", at)

        # What is given up, since the rule changes, may be ahead still: it was put off by jitter.
        if fire.runs and max(fire.cursor_ms, *(run.scheduled_for_ms for run in fire.runs)) * 1000 > at:
            self.complain(f"{about}, too early", at)

        self._count(account, fire, answer, at)
        self._check_slots(account, fire, at)
        account.missed += fire.missed
        account.skipped += answer.skipped
        account.cursor_ms = fire.next_ms or (0 if fire.end == "finished" else None)
        account.earliest_ms = at // 1000 + fire.after_ms

        if fire.end == "finished" or (fire.limit and len(account.runs) >= fire.limit):
            account.status = "finished"

    def _count(self, account: _Account, fire: Fire, answer: FireAnswer, at: int) -> None:
        # Also by an entry of that id that was removed since.
        new = [run for run in fire.runs if self.made.get((fire.entry_id, run.scheduled_for_ms)) != run.id]
        known = len(fire.runs) - len(new)

        if answer.made + answer.skipped + known != len(fire.runs):
            self.complain(f"entry {fire.entry_id}: of {len(fire.runs)} fires {answer} is accounted for", at)

        for run in new[: answer.made]:
            slot = (fire.entry_id, run.scheduled_for_ms)

            if self.made.setdefault(slot, run.id) != run.id:
                self.complain(f"entry {fire.entry_id} fired twice for {when(slot[1] * 1000)}", at)

            account.runs[run.id] = run.scheduled_for_ms

    def _check_slots(self, account: _Account, fire: Fire, at: int) -> None:
        """As many as the schedule has, from this cursor up to the next one."""
        schedule = account.spec.schedule.for_entry(fire.entry_id)

        if account.spec.policy.jitter is not None or not fire.next_ms:
            return

        if isinstance(schedule, Every) and schedule.after_completion:
            return

        slots = 0
        slot = schedule.next_after(from_ms(fire.cursor_ms - 1))

        while slot is not None and to_ms(slot) < fire.next_ms:
            slots += 1
            slot = schedule.next_after(slot)

        if slots != len(fire.runs) + fire.missed:
            said = f"{len(fire.runs)} runs and {fire.missed} missed"
            self.complain(f"entry {fire.entry_id} has {slots} fire times there, and accounts for {said}", at)

    # --- at the end --------------------------------------------------------------------------------------------

    def check_due(self, at: int) -> None:
        """Nothing has been the matter for a while: whatever was due has been fired."""
        for entry_id, account in self.accounts.items():
            if account.status == "active" and account.cursor_ms and account.cursor_ms < at // 1000 - _LATEST_MS:
                self.complain(f"entry {entry_id} still waits for {when(account.cursor_ms * 1000)}", at)

    def check_final(self, entry_id: str, account: _Account, stored: Any, finals: dict[str, Any]) -> None:
        """Hold what is stored against what was done."""
        if not isinstance(stored, EntryRecord):
            self.found.append(f"entry {entry_id} is lost: {stored}")
            return

        counted = {"run_count": len(account.runs), "missed_count": account.missed}

        if account.missed <= stored.missed_count <= account.missed + account.doubtful:
            counted["missed_count"] = stored.missed_count

        if not account.has_limit:
            counted["overlap_skipped"] = account.skipped

        for name, expected in counted.items():
            if getattr(stored, name) != expected:
                self.found.append(f"entry {entry_id} has {name}={getattr(stored, name)}, and it was {expected}")

        for run_id in account.runs:
            if finals.get(run_id) is None:
                self.found.append(f"entry {entry_id} made run {run_id}, and it is not there")
