"""Nothing but the documented errors leaves what reads stored or foreign text, whatever that holds.

Arguments, errors of attempts, entries, durations, schedules and settings are put to the same test where the rest of
what they do is tested, in tests/core and tests/schedules.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anysched.backends import Corrupt, EntryRecord, NewRun, RunRecord, TickReply, WorkReply
from anysched.backends.redis import wire
from anysched.backends.redis.addresses import Address, parse_address
from anysched.codec import JsonCodec
from anysched.errors import CannotDecode, InvalidArguments, InvalidURL
from anysched.job_types import JobTypes
from anysched.options import decode_options

SECRET = "hunter2hunter2"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
)
broken_json = st.text() | json_values.map(json.dumps) | json_values.map(lambda value: json.dumps(value)[:-1])


# --- msgpack as Lua writes it: texts are whatever bytes somebody stored -------------------------------------------


def pack(value: Any) -> bytes:
    """Msgpack; bytes become a text, be they UTF-8 or not."""
    match value:
        case bytes():
            return b"\xdb" + len(value).to_bytes(4) + value

        case list():
            return b"\xdd" + len(value).to_bytes(4) + b"".join(map(pack, value))

        case dict():
            parts = [pack(key) + pack(part) for key, part in value.items()]
            return b"\xdf" + len(value).to_bytes(4) + b"".join(parts)

        case _:
            return msgspec.msgpack.encode(value)


stored_texts = st.binary(max_size=20) | st.sampled_from(
    (b"1", b"-1", b"nan", b"1e400", b"ready", b"9" * 30, b"", b"1.5")
)
stored_values = stored_texts | st.integers(-(2**63), 2**63) | st.floats() | st.lists(stored_texts, max_size=2)


def records_like(kind: type[msgspec.Struct]) -> st.SearchStrategy[dict[bytes, Any]]:
    """What a script tells of a record whose fields somebody else has written."""
    fields = {name.encode(): stored_values for name in kind.__struct_fields__ if name != "id"}
    extra = {b"foreign": stored_values, b"corrupt": stored_texts, b"version": stored_values}
    return st.fixed_dictionaries({b"id": stored_texts}, optional=fields | extra)


@given(records_like(RunRecord))
def test_a_run_of_any_fields_is_read_or_corrupt(fields: dict[bytes, Any]) -> None:
    """And names itself."""
    record = wire.decode_run(pack(fields))
    assert isinstance(record, (RunRecord, Corrupt))
    assert wire.show(fields[b"id"]) == record.id


@given(records_like(EntryRecord))
def test_an_entry_of_any_fields_is_read_or_corrupt(fields: dict[bytes, Any]) -> None:
    """And names itself."""
    record = wire.decode_entry(pack(fields))
    assert isinstance(record, (EntryRecord, Corrupt))
    assert wire.show(fields[b"id"]) == record.id


named = st.fixed_dictionaries({b"id": stored_texts, b"reason": stored_texts})


@st.composite
def told(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A claimed run: its id, how the head names it, and what is told of it; sealed ones are told as they are stored."""
    run = draw(records_like(RunRecord))
    run_id = run[b"id"]

    if draw(st.booleans()) or not run_id:
        return run_id, b"", pack(run)

    del run[b"id"]
    return run_id, run_id, draw(st.binary(max_size=9) | st.just(pack(run)) | st.just(pack(run)[:-1]))


@given(st.lists(told(), max_size=3), st.lists(named, max_size=2), st.lists(stored_texts, max_size=2))
def test_a_claim_of_any_records_is_answered(
    runs: list[tuple[bytes, bytes, bytes]], corrupt: list[dict[bytes, Any]], lost: list[bytes]
) -> None:
    """Each is claimed or named as corrupt, whatever a broken one does to those behind it; the rest of it is read."""
    sealed = [name for _, name, _ in runs]
    head = {b"now_ms": 5, b"settled": [True, False], b"corrupt": corrupt, b"lost": lost, b"sealed": sealed}
    found, unread = wire.decode_work([pack(head | {b"first_token": 100}), *[blob for _, _, blob in runs]])
    assert isinstance(found, WorkReply)
    places = {wire.show(run_id): place for place, (run_id, _, _) in enumerate(runs)}
    tokens = {run.id: run.token for run in found.runs if wire.show(sealed[places[run.id]])}
    assert {run_id: 100 + places[run_id] for run_id in tokens} == tokens or len(places) < len(runs)
    assert len(runs) == len(found.runs) + len(unread)
    assert len(corrupt) + len(unread) == len(found.corrupt)
    assert (5, (True, False), len(lost)) == (found.now_ms, found.settled, len(found.lost))
    assert {record.id for record in unread} <= {run_id for run_id, _, _ in runs}


@given(st.lists(records_like(EntryRecord), max_size=3), st.lists(named, max_size=2), st.lists(stored_texts, max_size=2))
def test_a_look_at_any_entries_is_answered(
    due: list[dict[bytes, Any]], corrupt: list[dict[bytes, Any]], retired: list[bytes]
) -> None:
    """Each is due or named as corrupt; what else the reply says is read."""
    reply = {b"now_ms": 5, b"fired": [{b"done": True}], b"due": due, b"corrupt": corrupt, b"retired": retired}
    found, unread = wire.decode_tick(pack(reply))
    assert isinstance(found, TickReply)
    assert len(due) == len(found.due) + len(unread)
    assert len(corrupt) + len(unread) == len(found.corrupt)
    assert (5, 1, len(retired)) == (found.now_ms, len(found.fired), len(found.retired))


@given(st.lists(stored_texts, max_size=3), st.lists(st.tuples(stored_texts, st.integers(0, 2**53)), max_size=3))
def test_names_of_any_bytes_are_shown(names: list[bytes], unknown: list[tuple[bytes, int]]) -> None:
    """Of runs to be cancelled, queues, and jobs that nobody knows."""
    held = [[name, b"7"] for name in names]
    renewed = wire.decode_renewed(pack({b"lost": False, b"now_ms": 5, b"cancels": names, b"held": held}))
    assert [wire.show(name) for name in names] == list(renewed.cancels)
    assert [(name.decode(), 7) for name in names if wire.show(name).encode() == name] == list(renewed.held)
    queues = wire.decode_queues(pack([{b"name": name, b"ready": 1, b"paused": False} for name in names]))
    assert sorted(map(wire.show, names)) == [queue.name for queue in queues]
    totals = wire.decode_totals(pack({b"ready": 1}), pack([list(pair) for pair in unknown]))
    assert {wire.show(job) for job, _ in unknown} == set(totals.unknown_jobs)


@given(st.lists(records_like(EntryRecord), max_size=3))
def test_nodes_of_any_fields_are_listed_or_left_out(nodes: list[dict[bytes, Any]]) -> None:
    """A list for people is short of one rather than not there."""
    assert len(wire.decode_nodes([pack(node) for node in nodes])) <= len(nodes)


@given(
    st.binary()
    | st.builds(lambda kind, rest: kind + b"\n" + rest, st.sampled_from((b"done", b"lock", b"x")), st.binary())
)
def test_no_hint_raises(message: bytes) -> None:
    """Anybody can publish on a channel."""
    for hint in wire.decode_hints(message):
        assert hint.kind in {"work", "entries", "cancel", "done", "lock"}


@given(st.lists(st.text(), max_size=2), st.integers(-(2**62), 2**62))
def test_any_run_can_be_sent(texts: list[str], number: int) -> None:
    """What goes out is read as it was."""
    run = NewRun(id="".join(texts), job="j", payload="".join(texts), priority=number, delay_ms=abs(number))
    assert list(msgspec.structs.astuple(run)) == msgspec.msgpack.decode(wire.encode_one(run))


# --- texts ---------------------------------------------------------------------------------------------------------


@given(broken_json)
@example('{"v":2}')
@example("[" * 100_000)
def test_no_stored_options_raise_anything_else(text: str) -> None:
    """`CannotDecode`, or they are options."""
    with suppress(CannotDecode):
        decode_options(text, "job")


def call(number: int, names: dict[str, list[float]], *rest: bytes, flag: bool = False) -> set[int] | None:
    """Of many types."""


TYPES = JobTypes("job", call, JsonCodec())


@given(broken_json)
@example("[" * 100_000)
def test_no_stored_result_raises_anything_else(text: str) -> None:
    """`CannotDecode`, or it is of the type that the function returns."""
    with suppress(CannotDecode):
        assert isinstance(TYPES.decode_result(text), set | None)


@given(
    st.lists(broken_json, max_size=3),
    st.dictionaries(st.sampled_from(("number", "names", "flag", "other")), broken_json),
)
def test_no_written_argument_raises_anything_else(args: list[str], kwargs: dict[str, str]) -> None:
    """`InvalidArguments`, or the function could be called with them."""
    with suppress(InvalidArguments):
        TYPES.arguments_from_json(args, kwargs)


ODD = "redisvntlu+:/@?#[]%&=.,0123456789- \u00fc\n"
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "http", "")
addresses = st.text() | st.builds(
    lambda scheme, rest: f"{scheme}://{rest}", st.sampled_from(SCHEMES), st.text(alphabet=ODD, max_size=60) | st.text()
)


@settings(max_examples=400)
@given(addresses)
def test_no_address_raises_anything_else(url: str) -> None:
    """`InvalidURL`, or it can be shown."""
    try:
        address = parse_address(url)
    except InvalidURL:
        return

    assert isinstance(address, Address)
    assert str(address)


@given(
    st.sampled_from(SCHEMES),
    st.text(alphabet=ODD, max_size=20).filter(lambda text: "@" not in text),
    st.text(alphabet=ODD, max_size=40),
)
def test_no_address_gives_its_password_away(scheme: str, user: str, rest: str) -> None:
    """Neither in an error nor when it is shown."""
    user = user.replace("/", "").replace("?", "").replace("#", "")
    shown: str
    try:
        shown = str(parse_address(f"{scheme}://{user}:{SECRET}@{rest}"))
    except InvalidURL as error:
        shown = str(error)

    assert SECRET not in shown


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x93\x01"])
def test_a_reply_that_is_none_raises_what_msgspec_does(blob: bytes) -> None:
    """No record is like that: it would be a broken script, or a broken wire."""
    with pytest.raises(msgspec.DecodeError):
        wire.decode_run(blob)
