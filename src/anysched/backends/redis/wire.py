"""How records travel.

On the way in a record is an array of its fields in their order, and a batch of them one msgpack blob: there is no
cheaper thing to make in Python nor to take apart in Lua. ``None`` is not used: Lua has no place for it in an array.

On the way out it is an object that msgspec reads right into the record's class. Redis keeps much as text, so numbers
may be texts. The runs of a claim come each as a blob, a sealed one as it is stored, and are read as one array; if that
cannot be read, one by one, to find the one that is at fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from attrs import frozen
from msgspec.msgpack import Decoder, encode
from msgspec.structs import astuple, force_setattr

from anysched.backends.records import (
    DEFAULT_TTL_MS,
    SHORT_PAYLOAD,
    Claim,
    ClaimedRun,
    Corrupt,
    DueEntry,
    Enqueued,
    EntryRecord,
    Fire,
    Held,
    Hint,
    NewRun,
    NodeRecord,
    Outcome,
    QueueRecord,
    Renewed,
    RunRecord,
    TickReply,
    Totals,
    WorkReply,
)
from anysched.backends.redis.link import Argument

__all__ = [
    "Unread",
    "decode_enqueued",
    "decode_entry",
    "decode_hints",
    "decode_nodes",
    "decode_queues",
    "decode_renewed",
    "decode_run",
    "decode_tick",
    "decode_totals",
    "decode_work",
    "encode_all",
    "encode_claim",
    "encode_fires",
    "encode_one",
    "encode_outcomes",
    "encode_runs",
    "encode_words",
    "show",
]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""Both are what msgspec raises: a wrong type or broken msgpack (``ValidationError`` is the first), and broken text."""

_RUNS = Fire.__struct_fields__.index("runs")


_LONGEST_GROUP = 3 * 1000
"""A command takes so many names easily; each outcome has three places."""

Blob = bytes | msgspec.Raw


_NONE = b"\x90"
"""An empty array."""

_ARRAY = b"\xdd"
"""The header of any array, before its length in four bytes."""

_TAKE = b"take\n"

_NOTHING = msgspec.Raw(b"\xa0")
"""An empty text."""


@frozen
class Unread:
    """A record that cannot be read: the bytes of its id, and why; of an entry that is due, also since when."""

    id: bytes
    reason: str
    cursor_ms: float = 0

    @property
    def shown(self) -> Corrupt:
        """As it is told."""
        return Corrupt(show(self.id), self.reason)


class _Named(msgspec.Struct, frozen=True):
    """What names a record and says what is wrong with it, be the rest what it may."""

    id: msgspec.Raw
    reason: msgspec.Raw = _NOTHING
    corrupt: msgspec.Raw = _NOTHING
    cursor_ms: float = 0


class _Head(WorkReply, frozen=True):
    """A reply but for its runs.

    Attributes:
        first_token: of the first run; each that follows has one more.
        sealed: for each run its id, if it is told as it is stored, without id and token; else empty.
    """

    first_token: int = 0
    sealed: tuple[str, ...] = ()


class _Taken(msgspec.Struct, frozen=True, array_like=True):
    """A run that comes with a hint, as it is stored, and for whom it is."""

    node: str
    now_ms: int
    id: str
    token: int
    run: ClaimedRun


class _Queue(msgspec.Struct, frozen=True):
    """As :class:`QueueRecord`, the name not looked at."""

    name: msgspec.Raw
    ready: int
    paused: bool


_ENQUEUED = Decoder(list[tuple[int, str]])
_HEAD = Decoder(_Head, strict=False)
_CLAIMED = Decoder(ClaimedRun, strict=False)
_CLAIMED_RUNS = Decoder(tuple[ClaimedRun, ...], strict=False)
_TAKEN = Decoder(_Taken, strict=False)
_TICK = Decoder(TickReply, strict=False)
_DUE = Decoder(DueEntry, strict=False)
_RUN = Decoder(RunRecord, strict=False)
_ENTRY = Decoder(EntryRecord, strict=False)
_PARTS = Decoder(dict[str, msgspec.Raw])
_NAMED = Decoder(_Named)
_BLOBS = Decoder(list[msgspec.Raw])
_HEADERS = {0xD9: 2, 0xDA: 3, 0xDB: 5}
"""How many bytes stand before a msgpack text, by the first of them; 1 before a short one."""
_RENEWED = Decoder(Renewed, strict=False)
_HELD = Decoder(Held, strict=False)
_NODE = Decoder(NodeRecord)
_QUEUE = Decoder(_Queue)
_TOTALS = Decoder(Totals)
_UNKNOWN = Decoder(list[tuple[msgspec.Raw, int]])


# --- in ------------------------------------------------------------------------------------------------------


def encode_one(record: msgspec.Struct) -> bytes:
    """One record as an array."""
    return encode(astuple(record))


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Groups of those that share all but run, token and result."""
    groups: list[tuple[tuple[Any, ...], list[Any]]] = []
    shared: tuple[Any, ...] = ()
    own: list[Any] = []

    for outcome in outcomes:
        fields = ("", 0, outcome.kind, "", outcome.error, outcome.delay_ms, outcome.ttl_ms)

        if fields != shared or len(own) >= _LONGEST_GROUP:
            shared, own = fields, []
            groups.append((shared, own))

        own += outcome.run_id, outcome.token, outcome.result

    return encode(groups)


def encode_all(records: Sequence[msgspec.Struct]) -> bytes:
    """Records as an array of arrays."""
    return encode([astuple(record) for record in records])


def encode_runs(runs: Sequence[NewRun]) -> Sequence[Argument]:
    """New runs: one that may be sealed as it is to be stored, if it is alone; else groups of them."""
    sealed = _encode_sealed(runs[0]) if len(runs) == 1 else None
    return sealed or (_encode_groups(runs),)


def _encode_sealed(run: NewRun) -> tuple[Argument, ...] | None:
    """A run that may be sealed, as ``alone.lua`` wants it; ``None`` for any other."""
    if run.key or run.entry_id or run.at_ms or run.delay_ms or run.expires_ms or run.expires_at_ms:
        return None

    record: dict[str, Any] = {"job": run.job}  # the job first: see shared/seals.lua

    if run.payload:
        if len(run.payload) > SHORT_PAYLOAD:
            return None

        record["payload"] = run.payload

    if run.queue != "default":
        record["queue"] = run.queue

    if run.priority:
        record["priority"] = run.priority

    if run.scheduled_for_ms:
        record["scheduled_for_ms"] = run.scheduled_for_ms

    if run.ttl_ms != DEFAULT_TTL_MS:
        record["ttl_ms"] = run.ttl_ms

    if run.options:
        record["options"] = run.options

    late = encode((run.deadline_after_ms, run.deadline_ms)) if run.deadline_ms or run.deadline_after_ms else b""
    return run.id, run.queue, run.priority, run.job, encode(record), late


def _encode_groups(runs: Sequence[NewRun]) -> bytes:
    """Groups of those that share all but id and payload: the rest is sent, and taken apart, once."""
    groups: list[tuple[tuple[Any, ...], list[str]]] = []
    job: str | None = None
    rest: tuple[Any, ...] = ()
    own: list[str] = []

    for run in runs:
        fields = astuple(run)  # id, job, payload, ...

        if fields[1] != job or fields[3:] != rest:
            job, rest, own = fields[1], fields[3:], []
            groups.append((("", job, "", *rest), own))

        own += fields[0], fields[2]

    return encode(groups)


def encode_claim(claim: Claim | None) -> bytes:
    """A claim, or nothing."""
    return b"" if claim is None else encode(astuple(claim))


def encode_fires(fires: Sequence[Fire]) -> bytes:
    """Fires, each with its runs in it."""
    return encode([_fire(fire) for fire in fires])


def encode_words(words: Sequence[str]) -> bytes:
    """Some texts."""
    return encode(words)


def _fire(fire: Fire) -> list[Any]:
    fields: list[Any] = [*astuple(fire)]
    fields[_RUNS] = [astuple(run) for run in fire.runs]
    return fields


# --- out -----------------------------------------------------------------------------------------------------


def decode_enqueued(reply: bytes, runs: Sequence[NewRun]) -> list[Enqueued]:
    """What stands for each of the runs that were to be stored; the reply names those that were not."""
    answers = [Enqueued(run.id, True) for run in runs]

    if reply == _NONE:  # the most frequent answer
        return answers

    for index, found in _ENQUEUED.decode(reply):
        answers[index] = Enqueued(found, False)

    return answers


def decode_work(reply: Sequence[bytes]) -> tuple[WorkReply, list[Unread]]:
    """The reply, without the runs that cannot be read: these are named as corrupt, and to be set aside."""
    packed, *blobs = reply

    try:
        head = _HEAD.decode(packed)
        runs = _CLAIMED_RUNS.decode(b"".join((_ARRAY, len(blobs).to_bytes(4), *blobs)))
    except UNREADABLE:
        return _decode_work_with_care(packed, blobs)

    for place, run_id in enumerate(head.sealed):
        if run_id:
            _unseal(runs[place], run_id, head.first_token + place)

    return _work_reply(head, runs), []


def _decode_work_with_care(packed: bytes, blobs: Sequence[bytes]) -> tuple[WorkReply, list[Unread]]:
    """One run after the other, to find the one that is at fault."""
    parts = _PARTS.decode(packed)
    head = _HEAD.decode(_without(parts, "sealed", "corrupt", "lost"))
    runs: list[ClaimedRun] = []
    unread: list[Unread] = []

    for place, (named, blob) in enumerate(zip(_BLOBS.decode(parts["sealed"]), blobs, strict=True)):
        run_id = _text_in(named)

        try:
            run = _CLAIMED.decode(blob)

            if run_id:
                _unseal(run, run_id.decode(), head.first_token + place)
        except UNREADABLE as error:
            unread.append(Unread(run_id, str(error)) if run_id else _unread(blob, error))
        else:
            runs.append(run)

    corrupt, lost = _corrupt(parts, unread), _texts(parts["lost"])
    return _work_reply(msgspec.structs.replace(head, corrupt=corrupt, lost=lost), tuple(runs)), unread


def _work_reply(head: _Head, runs: tuple[ClaimedRun, ...]) -> WorkReply:
    return WorkReply(
        now_ms=head.now_ms,
        settled=head.settled,
        runs=runs,
        known=head.known,
        more=head.more,
        next_due_ms=head.next_due_ms,
        corrupt=head.corrupt,
        lost=head.lost,
        expired=head.expired,
    )


def _unseal(run: ClaimedRun, run_id: str, token: int) -> None:
    """Complete a sealed run, which is told as it is stored. Nobody else has it yet."""
    force_setattr(run, "id", run_id)
    force_setattr(run, "token", token)


def decode_tick(reply: bytes) -> tuple[TickReply, list[Unread]]:
    """The reply, without the due entries that cannot be read: these are named as corrupt, and to be set aside."""
    try:
        return _TICK.decode(reply), []
    except UNREADABLE:
        parts = _PARTS.decode(reply)

    due, unread = _readable(_BLOBS.decode(parts["due"]), _DUE)
    corrupt, retired = _corrupt(parts, unread), _texts(parts["retired"])
    rest = _TICK.decode(_without(parts, "due", "corrupt", "retired"))
    return msgspec.structs.replace(rest, due=tuple(due), corrupt=corrupt, retired=retired), unread


def decode_run(blob: bytes) -> RunRecord | Corrupt:
    """A run's record, or why it cannot be read."""
    try:
        return _RUN.decode(blob)
    except UNREADABLE as error:
        return _unread(blob, error).shown


def decode_entry(blob: bytes) -> EntryRecord | Corrupt:
    """An entry's record, or why it cannot be read."""
    try:
        return _ENTRY.decode(blob)
    except UNREADABLE as error:
        return _unread(blob, error).shown


def decode_nodes(blobs: Sequence[bytes]) -> list[NodeRecord]:
    """The nodes that can be read, by id."""
    return sorted(_readable(blobs, _NODE)[0], key=lambda node: node.id)


def decode_renewed(reply: bytes) -> Renewed:
    """The answer to a renewal."""
    try:
        return _RENEWED.decode(reply)
    except UNREADABLE:
        parts = _PARTS.decode(reply)

    rest = _RENEWED.decode(_without(parts, "cancels", "held"))
    return msgspec.structs.replace(rest, cancels=_texts(parts["cancels"]), held=tuple(_held(parts["held"])))


def decode_queues(reply: bytes) -> list[QueueRecord]:
    """Queues, by name."""
    found = [_QUEUE.decode(blob) for blob in _BLOBS.decode(reply)]
    queues = [QueueRecord(name=show(_text_in(queue.name)), ready=queue.ready, paused=queue.paused) for queue in found]
    return sorted(queues, key=lambda queue: queue.name)


def decode_totals(counts: bytes, unknown: bytes) -> Totals:
    """Counts. Lua cannot tell an empty object from an empty array, so the unknown jobs come as pairs."""
    since: dict[str, int] = {}

    for name, since_ms in _UNKNOWN.decode(unknown):
        job = show(_text_in(name))
        since[job] = min(since_ms, since.get(job, since_ms))

    return msgspec.structs.replace(_TOTALS.decode(counts), unknown_jobs=since)


def decode_hints(message: bytes) -> list[Hint]:
    """Hints, one for each run in the message; a kind that is not known here is left out."""
    if message.startswith(_TAKE):
        return [_taken(message[len(_TAKE) :])]

    kind, *names = message.decode("utf-8", "replace").split("\n")

    match kind:
        case "work" | "entries":
            return [Hint(kind)]

        case "cancel" | "done":
            return [Hint(kind, name) for name in names]

        case "lock" if len(names) == 2:
            return [Hint(kind, names[0], owner=names[1])]

        case _:
            return []


def _taken(blob: bytes) -> Hint:
    """A hint with a run in it. If that cannot be read, the node that should have it hands it back unseen."""
    try:
        taken = _TAKEN.decode(blob)
    except UNREADABLE:
        return Hint("work")

    _unseal(taken.run, taken.id, taken.token)
    return Hint("take", taken.node, taken.run, taken.now_ms)


def _held(raw: msgspec.Raw) -> Iterator[Held]:
    """Those that can be read: nobody can hold what has no such id."""
    for blob in _BLOBS.decode(raw):
        with suppress(*UNREADABLE):
            yield _HELD.decode(blob)


def _readable(blobs: Sequence[Blob], decoder: Decoder[Any]) -> tuple[list[Any], list[Unread]]:
    found: list[Any] = []
    unread: list[Unread] = []

    for blob in blobs:
        try:
            found.append(decoder.decode(blob))
        except UNREADABLE as error:
            unread.append(_unread(blob, error))

    return found, unread


def _unread(blob: Blob, error: Exception) -> Unread:
    named = _NAMED.decode(blob)
    reason = _text_in(named.reason) or _text_in(named.corrupt)
    return Unread(_text_in(named.id), show(reason) or str(error), named.cursor_ms)


def _corrupt(parts: Mapping[str, msgspec.Raw], unread: Sequence[Unread]) -> tuple[Corrupt, ...]:
    """What the script itself has set aside, and what turned out to be unreadable here."""
    told = [_unread(blob, ValueError()) for blob in _BLOBS.decode(parts["corrupt"])]
    return tuple([record.shown for record in (*told, *unread)])


def _texts(raw: msgspec.Raw) -> tuple[str, ...]:
    return tuple([show(_text_in(text)) for text in _BLOBS.decode(raw)])


def _without(parts: Mapping[str, msgspec.Raw], *names: str) -> bytes:
    return encode({name: part for name, part in parts.items() if name not in names})


def _text_in(raw: msgspec.Raw) -> bytes:
    """The bytes of a msgpack text, which need not be UTF-8."""
    data = bytes(raw)
    return data[_HEADERS.get(data[0], 1) :]


def show(text: bytes) -> str:
    """A text that need not be UTF-8."""
    return text.decode("utf-8", "backslashreplace")
