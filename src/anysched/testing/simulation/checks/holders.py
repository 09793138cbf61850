"""Who did what at the same true time, counting only those who could trust their lease."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from anysched.entry import EntrySpec

from ..history import Answered, Began, Command, Ended, HandedOver, History
from .leases import TRUSTED_SHARE, Windows, read_standstills, read_trust, when

__all__ = ["check_holders"]

_CLEAN_UP = 2_200_000
"""Microseconds that a cancelled function may take to give back what it holds."""

_FOREVER = 1 << 61


@define(eq=False)
class _Execution:
    """One call of a job's function."""

    began: Began
    node: str
    ended_at: int = _FOREVER
    how: str = "never left"
    trusted: list[tuple[int, int]] = field(factory=list[tuple[int, int]], init=False)

    def __str__(self) -> str:
        return f"run {self.began.run_id} on {self.began.machine}"


@frozen
class _Span:
    """A span of time in which somebody did something."""

    start: int
    end: int
    who: Any


def check_holders(history: History, limits: Mapping[str, int]) -> Iterator[str]:
    """What was held by too many at once, and who held on too long.

    Args:
        history: what happened.
        limits: executions at once, by job.
    """
    executions = _read_executions(history)
    yield from _check_trust(executions, history)
    yield from _check_runs(executions)
    yield from _check_jobs(executions, limits)
    yield from _check_entries(executions, history)
    yield from _check_locks(history)


def _read_executions(history: History) -> list[_Execution]:
    nodes: dict[int, str] = {}
    live: dict[tuple[str, int], _Execution] = {}
    found: list[_Execution] = []

    for record in history.records:
        match record:
            case Command(name="work"):
                nodes |= {run.token: record.arguments["node_id"] for run in record.answer.runs}
            case HandedOver():
                nodes[record.run.token] = record.node_id
            case Began():
                one = live[record.machine, record.token] = _Execution(record, nodes.get(record.token, ""))
                found.append(one)
            case Ended() if (one := live.pop((record.machine, record.token), None)) is not None:
                one.ended_at, one.how = record.at, record.how
            case _:
                pass

    trust = read_trust(history)
    still = read_standstills(history)

    for one in found:
        # What is dead does nothing; what stands still may go on while it may trust its lease.
        died = next((start for start, end in still.get(one.began.machine, Windows()).spans if end > _FOREVER), _FOREVER)
        one.ended_at = min(one.ended_at, max(died, one.began.at))
        one.trusted = trust.get(one.node, Windows()).within(one.began.at, one.ended_at)

    return found


def _check_trust(executions: Iterable[_Execution], history: History) -> Iterator[str]:
    """Who may not trust its lease begins nothing, and stops what it does."""
    trust, still = read_trust(history), read_standstills(history)

    for one in executions:
        windows = trust.get(one.node, Windows())
        stood = still.get(one.began.machine, Windows())

        if not windows.covers(one.began.at) and not stood.covers(one.began.at):
            yield f"{one} began at {when(one.began.at)} without a lease"

        lost_at = max(windows.end_before(one.ended_at), stood.end_before(one.ended_at), one.began.at)

        if not windows.covers(one.ended_at) and one.ended_at > lost_at + _CLEAN_UP:
            yield f"{one} went on until {when(one.ended_at)}, and its lease could be trusted until {when(lost_at)}"


def _check_runs(executions: Iterable[_Execution]) -> Iterator[str]:
    for token, group in _grouped(executions, lambda one: str(one.began.token)).items():
        if len(group) > 1:
            yield f"run {group[0].began.run_id} was executed {len(group)} times under the token {token}"

    for run_id, group in _grouped(executions, lambda one: one.began.run_id).items():
        for at, who in _crowds(group, 1):
            yield f"run {run_id} was executed by {_names(who)} at once, at {when(at)}"


def _check_jobs(executions: Iterable[_Execution], limits: Mapping[str, int]) -> Iterator[str]:
    limited = [one for one in executions if one.began.job in limits]

    for job, group in _grouped(limited, lambda one: one.began.job).items():
        for at, who in _crowds(group, limits[job]):
            yield f"{len(who)} of {job} were executed at once, and {limits[job]} are allowed, at {when(at)}"


def _check_entries(executions: Iterable[_Execution], history: History) -> Iterator[str]:
    lives = _read_entries(history)
    kept_apart = [one for one in executions if one.began.run_id in lives]

    for entry, group in _grouped(kept_apart, lambda one: lives[one.began.run_id]).items():
        for at, who in _crowds(group, 1):
            yield f"entry {entry} forbids overlap, and {_names(who)} overlapped at {when(at)}"


def _read_entries(history: History) -> dict[str, str]:
    """By run: the entry that must not overlap, if its rule has always been the same, and nobody revived the run."""
    overlaps: dict[str, set[str]] = {}
    removals: Counter[str] = Counter()
    made: dict[str, tuple[str, int]] = {}
    revived: set[str] = set()

    for command in (record for record in history.records if isinstance(record, Command)):
        arguments = command.arguments

        match command.name:
            case "put_entry" | "declare":
                for write in arguments["entries"] if command.name == "declare" else [arguments["entry"]]:
                    overlaps.setdefault(write.id, set()).add(EntrySpec.from_text(write.spec).policy.overlap)
            case "remove_entry":
                removals[arguments["entry_id"]] += 1
            case "tick":
                for run in [run for fire in arguments["fires"] for run in fire.runs]:
                    made.setdefault(run.id, (run.entry_id, removals[run.entry_id]))
            case "trigger":
                overlaps.setdefault(arguments["entry_id"], set()).add(arguments["overlap"])
                made.setdefault(arguments["run"].id, (arguments["entry_id"], removals[arguments["entry_id"]]))
            case "revive":
                revived.add(arguments["run_id"])
            case _:
                pass

    return {
        run_id: f"{entry_id} #{life}"
        for run_id, (entry_id, life) in made.items()
        if run_id not in revived and "allow" not in overlaps.get(entry_id, {"allow"})
    }


# --- locks --------------------------------------------------------------------------------------------------------


def _check_locks(history: History) -> Iterator[str]:
    """By the answers that its owners got: when each could trust to have the lock."""
    held: dict[str, dict[str, Windows]] = {}

    for record in history.records:
        if isinstance(record, Answered) and record.name in ("acquire_lock", "refresh_lock"):
            name, owner = record.arguments["name"], record.arguments["owner"]
            has_it = record.answer.token > 0 if record.name == "acquire_lock" else record.answer
            until = record.sent_at + int(record.arguments["ttl_ms"] * 1000 * TRUSTED_SHARE)

            if has_it:
                held.setdefault(name, {}).setdefault(owner, Windows()).add(record.at, until)
        elif isinstance(record, Command) and record.name == "release_lock":
            windows = held.get(record.arguments["name"], {}).get(record.arguments["owner"])

            if windows is not None:
                windows.cut(record.at)

    for name, owners in held.items():
        spans = [_Span(start, end, owner) for owner, one in owners.items() for start, end in one.spans]

        for at, who in _crowded(spans, 1):
            yield f"lock {name} was held by {len(who)} at once, at {when(at)}"


# --- at the same time ---------------------------------------------------------------------------------------------


def _grouped(executions: Iterable[_Execution], key: Callable[[_Execution], str]) -> dict[str, list[_Execution]]:
    found: dict[str, list[_Execution]] = {}

    for one in executions:
        found.setdefault(key(one), []).append(one)

    return found


def _crowds(executions: Iterable[_Execution], allowed: int) -> Iterator[tuple[int, list[_Execution]]]:
    return _crowded([_Span(start, end, one) for one in executions for start, end in one.trusted], allowed)


def _crowded(spans: Iterable[_Span], allowed: int) -> Iterator[tuple[int, list[Any]]]:
    """The instants from which on more than so many go on at once, and which."""
    going_on: list[_Span] = []

    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        going_on = [one for one in going_on if one.end > span.start] + [span]
        who = list({id(one.who) if not isinstance(one.who, str) else one.who: one.who for one in going_on}.values())

        if len(who) > allowed:
            yield span.start, who


def _names(who: Iterable[Any]) -> str:
    return " and ".join(str(one) for one in who)
