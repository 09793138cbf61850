"""How entries are described, stored and shown."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.blueprint import Blueprint
from anysched.entry import Entry, EntryPolicy, EntryRun, EntrySpec, EntryStatus
from anysched.errors import CannotDecode, InvalidDuration, InvalidOption, InvalidSchedule, NaiveDatetime
from anysched.options import by_arguments
from anysched.schedules import Cron, Every, Once, Schedule

START = datetime(2026, 1, 1, tzinfo=UTC)
REPEATED = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo("Europe/Berlin"))
"""Shown twice, an hour apart."""


async def greet(name: str) -> None: ...


JOB = Blueprint().job(greet)


# --- policies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"overlap": "both"}, InvalidOption, "invalid overlap 'both': expected one of skip, queue_one, queue_all"),
        ({"misfire": None}, InvalidOption, "invalid misfire None: expected one of latest, all, skip"),
        ({"misfire": []}, InvalidOption, "invalid misfire []"),
        ({"limit": 0}, InvalidOption, "invalid limit 0: expected a whole number from 1"),
        ({"limit": True}, InvalidOption, "invalid limit True"),
        ({"misfire_grace": "x"}, InvalidDuration, "invalid misfire_grace 'x'"),
        ({"jitter": -1}, InvalidDuration, "invalid jitter -1"),
        ({"start_at": datetime(2026, 1, 1)}, NaiveDatetime, "start_at must be an aware datetime"),
        ({"end_at": "tomorrow"}, InvalidOption, "invalid end_at 'tomorrow': expected an aware datetime"),
        (
            {"start_at": START, "end_at": START - timedelta(days=1)},
            InvalidOption,
            "expected an instant not before start_at",
        ),
        (
            {"start_at": REPEATED.replace(fold=1), "end_at": REPEATED + timedelta(minutes=40)},
            InvalidOption,
            "expected an instant not before start_at",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    """With the value and what is allowed."""
    with pytest.raises(error) as caught:
        EntryPolicy(**options)

    assert complaint in str(caught.value)


def test_the_bounds_of_a_policy_are_compared_as_instants() -> None:
    """In an hour that is shown twice, 02:50 is before the second 02:10."""
    end = REPEATED.replace(fold=1)

    assert end is EntryPolicy(start_at=REPEATED + timedelta(minutes=40), end_at=end).end_at


# --- storage -----------------------------------------------------------------------------------------------------

lengths = st.none() | st.integers(0, 10**12).map(lambda ms: timedelta(milliseconds=ms))
instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda instant: instant.replace(microsecond=instant.microsecond // 1000 * 1000)
)
policies = st.builds(
    EntryPolicy,
    overlap=st.sampled_from(["skip", "queue_one", "queue_all", "cancel_previous", "allow"]),
    misfire=st.sampled_from(["latest", "all", "skip"]),
    misfire_grace=lengths,
    jitter=lengths,
    start_at=st.none() | instants,
    limit=st.none() | st.integers(1, 10**9),
)
schedules: st.SearchStrategy[Schedule] = st.one_of(
    st.sampled_from(["* * * * *", "H 9 * * mon#1", "@daily"]).map(lambda text: Cron(text, tz="Europe/Berlin")),
    st.builds(Every, st.integers(1, 10**6), anchor=st.none() | instants),
    st.just(Every("5s", after_completion=True)),
    st.builds(Once, instants),
)
specs = st.builds(
    EntrySpec,
    schedule=schedules,
    job=st.just("job"),
    payload=st.text(),
    queue=st.sampled_from(["default", "mail"]),
    priority=st.integers(-100, 100),
    expires_ms=st.integers(0, 10**12),
    deadline_after_ms=st.integers(0, 10**12),
    options=st.sampled_from(["", '{"timeout_ms":5}']),
    policy=policies,
)


@given(specs)
def test_a_description_comes_back_from_storage(spec: EntrySpec) -> None:
    """Equal, and with the same text and revision."""
    back = EntrySpec.from_text(spec.to_text())

    assert spec == back
    assert (spec.to_text(), spec.revision) == (back.to_text(), back.revision)


@given(specs, specs)
def test_a_revision_names_a_description(first: EntrySpec, second: EntrySpec) -> None:
    """Equal ones have one, others another."""
    assert (first == second) is (first.revision == second.revision)


def test_the_form_of_storage_stays() -> None:
    """Nodes of several versions read the same records."""
    spec = EntrySpec.of(Every("90s"), JOB.options(queue="mail", timeout=5).bind("Ada"), EntryPolicy(limit=3))

    assert {
        "v": 1,
        "job": "greet",
        "schedule": '{"every":"1m30s"}',
        "payload": '{"name":"Ada"}',
        "queue": "mail",
        "options": '{"timeout_ms":5000}',
        "policy": {"limit": 3},
    } == json.loads(spec.to_text())


GOOD = json.loads(EntrySpec(schedule=Cron("@daily"), job="job").to_text())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({**GOOD, "v": "1"}),
        json.dumps({**GOOD, "zz": 1}),
        json.dumps({**GOOD, "job": 5}),
        json.dumps({**GOOD, "job": "a b"}),
        json.dumps({**GOOD, "queue": ""}),
        json.dumps({**GOOD, "priority": 101}),
        json.dumps({**GOOD, "expires_ms": -1}),
        json.dumps({**GOOD, "schedule": "x"}),
        json.dumps({**GOOD, "schedule": '{"cron":"x"}'}),
        json.dumps({**GOOD, "schedule": '{"cron":"* * * * *","tz":"Mars/X"}'}),
        json.dumps({**GOOD, "options": "x"}),
        json.dumps({**GOOD, "options": '{"retry":{"max_retries":-1}}'}),
        json.dumps({**GOOD, "policy": {"overlap": "x"}}),
        json.dumps({**GOOD, "policy": {"jitter_ms": -1}}),
        json.dumps({**GOOD, "policy": {"jitter_ms": 10**18}}),
        json.dumps({**GOOD, "policy": {"start_ms": 10**18}}),
        json.dumps({**GOOD, "policy": {"limit": 0}}),
        json.dumps({**GOOD, "policy": {"start_ms": 2, "end_ms": 1}}),
    ],
    ids=lambda text: text[:60],
)
def test_a_description_that_cannot_be_is_told_apart(text: str) -> None:
    """It harms that entry alone."""
    with pytest.raises(CannotDecode, match=r"the stored (entry|options) of job"):
        EntrySpec.from_text(text)


def test_a_description_of_a_newer_version_says_so() -> None:
    """It is not damaged."""
    with pytest.raises(CannotDecode, match="it has version 2, and this anysched reads version 1"):
        EntrySpec.from_text(json.dumps({"v": 2, "anything": "else"}))


@given(st.text() | st.recursive(st.integers() | st.text(), st.lists, max_leaves=3).map(json.dumps))
def test_no_text_raises_anything_else(text: str) -> None:
    """Only the documented error leaves."""
    with pytest.raises(CannotDecode):
        EntrySpec.from_text(text)


@given(st.data())
def test_a_damaged_description_raises_nothing_else(data: st.DataObject) -> None:
    """A character changed somewhere gives a description or the documented error."""
    text = EntrySpec.of(Cron("H 1 * * *"), JOB.options(timeout=1).bind("Ada"), EntryPolicy(jitter=1)).to_text()
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:place] + data.draw(st.text(max_size=2)) + text[place + 1 :]

    with suppress(CannotDecode):
        EntrySpec.from_text(damaged)


# --- making ------------------------------------------------------------------------------------------------------


def test_a_period_without_an_anchor_gets_one() -> None:
    """From the moment it is added, or its start; in whole milliseconds, as storage counts."""
    spec = EntrySpec(schedule=Every("5s"), job="job")
    later = START + timedelta(days=1)

    assert Every("5s", anchor=START) == spec.anchored(START).schedule
    assert Every("5s", anchor=START) == spec.anchored(START - timedelta(microseconds=1)).schedule
    assert Every("5s", anchor=later) == (
        EntrySpec(schedule=Every("5s"), job="job", policy=EntryPolicy(start_at=later)).anchored(START).schedule
    )


@pytest.mark.parametrize(
    "schedule", [Every("5s", anchor=START), Every("5s", after_completion=True), Cron("@daily"), Once(START)], ids=str
)
def test_what_needs_no_anchor_gets_none(schedule: Schedule) -> None:
    """It is known already, or never will be."""
    spec = EntrySpec(schedule=schedule, job="job")

    assert spec is spec.anchored(START + timedelta(days=1))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"delay": 1.5}, "delay '1.5s'"),
        ({"at": START}, f"at '{START.isoformat()}'"),
        ({"expires": START}, f"expires '{START.isoformat()}'"),
        ({"deadline": START}, f"deadline '{START.isoformat()}'"),
        ({"key": "k"}, "key 'k'"),
        ({"key": by_arguments}, "key 'by_arguments'"),
        ({"run_id": "r"}, "run_id 'r'"),
    ],
)
def test_options_for_a_single_run_are_refused(options: dict[str, Any], shown: str) -> None:
    """An entry makes many. They are shown as people write them."""
    with pytest.raises(InvalidOption, match=re.escape(f"invalid {shown}: expected nothing for an entry")):
        EntrySpec.of(Cron("@daily"), JOB.options(**options).bind("Ada"), EntryPolicy())


def test_a_zone_without_a_name_is_refused() -> None:
    """Another machine would not know it."""
    from datetime import tzinfo

    class Nowhere(tzinfo):
        def utcoffset(self, instant: datetime | None) -> timedelta:
            return timedelta(hours=1)

        def dst(self, instant: datetime | None) -> timedelta:
            return timedelta(0)

        def tzname(self, instant: datetime | None) -> str:
            return "Nowhere"

    with pytest.raises(InvalidSchedule, match="invalid tz"):
        EntrySpec.of(Cron("@daily", tz=Nowhere()), JOB.bind("Ada"), EntryPolicy())


# --- what people see ---------------------------------------------------------------------------------------------


def test_an_entry_shows_its_description_and_what_storage_counts() -> None:
    """With its arguments readable, and hashed fields as they are for it."""
    spec = EntrySpec.of(Cron("H 9 * * *"), JOB.options(priority=3).bind("Ada"), EntryPolicy(limit=3))
    runs = (EntryRun(id="r", scheduled_for=START, status="live"),)
    entry = Entry.of("e", spec, status="paused", next_run_at=START, run_count=1, note="down", last_runs=runs)

    assert ("e", "greet", {"name": "Ada"}, EntryStatus.PAUSED) == (entry.id, entry.job, entry.args, entry.status)
    assert ("e", START, None, 1, "down", runs) == (
        *(entry.schedule.entry_id, entry.next_run_at, entry.last_run_at),  # type: ignore[attr-defined] - a Cron
        *(entry.run_count, entry.note, entry.last_runs),
    )
    assert ("default", 3, 3) == (entry.queue, entry.priority, entry.policy.limit)


@pytest.mark.parametrize("payload", ["", "gASV", "[1]", "{"])
def test_arguments_that_are_not_json_are_not_shown(payload: str) -> None:
    """Another codec wrote them, or there are none."""
    spec = EntrySpec(schedule=Cron("@daily"), job="job", payload=payload)

    assert ({}, payload) == (Entry.of("e", spec, status="active").args, Entry.of("e", spec, status="active").payload)
