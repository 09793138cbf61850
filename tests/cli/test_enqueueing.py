"""``anysched enqueue``: work for a real Redis, and what is refused before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

Call = Callable[..., tuple[int, str, str]]


def delay_of(run: dict) -> timedelta:
    return datetime.fromisoformat(run["due_at"]) - datetime.fromisoformat(run["enqueued_at"])


@pytest.fixture
def target(app, redis_url: str) -> str:
    return app.write(backend=redis_url).target


def run_of(call: Call, target: str, *words: str) -> dict:
    status, out, err = call("enqueue", target, *words)
    assert (0, "") == (status, err)
    status, shown, _ = call("runs", "show", target, out.strip(), "--json")
    assert 0 == status
    return msgspec.json.decode(shown)


def test_a_run_is_made(call: Call, target: str) -> None:
    """Its id is all that is printed, and its arguments are those of the command line."""
    run = run_of(call, target, "add", "1", "--kw", "b=41")

    assert ("add", "ready", {"a": 1, "b": 41}) == (run["job"], run["status"], run["arguments"])


def test_options_are_passed_on(call: Call, target: str) -> None:
    """Queue, priority, key and due time are the run's."""
    at = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    run = run_of(call, target, "add", "1", "--queue", "mail", "--priority", "7", "--key", "k", "--at", at.isoformat())

    assert ("mail", 7, "k", "scheduled") == (run["queue"], run["priority"], run["key"], run["status"])
    assert at.isoformat() == run["due_at"]
    assert run["id"] == run_of(call, target, "add", "2", "--key", "k")["id"]


def test_a_delay_is_a_length_of_time(call: Call, target: str) -> None:
    """It is counted from now."""
    run = run_of(call, target, "add", "1", "--delay", "1h")

    assert timedelta(hours=1) == delay_of(run)
    assert timedelta(hours=1) == delay_of(run_of(call, target, "add", "1", "--delay", "3600"))
    assert timedelta(seconds=90.5) == delay_of(run_of(call, target, "add", "1", "--delay", "90.5"))


@pytest.mark.parametrize("written", ["2040-01-01", "20400101", "2040-01-01T08", "2040-01-01 08:00", "2040-W01"])
def test_the_advice_about_an_instant_works(call: Call, target: str, written: str) -> None:
    """What is said to write for an instant without an offset is accepted as it stands, both of it."""
    status, _, err = call("enqueue", target, "add", "1", "--at", written)
    advised = re.findall(r"\S+(?:Z|\+01:00)(?!\S)", err)

    assert (2, 2) == (status, len(advised))

    for instant in advised:
        due = run_of(call, target, "add", "1", "--at", instant)["due_at"]
        assert datetime.fromisoformat(instant) == datetime.fromisoformat(due)


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("nope",), 2, "there is no job 'nope'; the jobs known here: add, digest, fail"),
        (("add",), 2, "do not fit job 'add'"),
        (("add", "one"), 2, "'one' is not JSON"),
        (("add", '"one"'), 2, "Expected `int`, got `str`"),
        (("add", "1", "2", "3"), 2, "do not fit job 'add'"),
        (("add", "1", "--kw", "c=1"), 2, "do not fit job 'add'"),
        (("add", "1", "--kw", "b"), 2, "expected NAME=JSON"),
        (("add", "1", "--kw", "b=1", "--kw", "b=2"), 2, "each name once"),
        (("add", "1", "--delay", "-5s"), 2, "expected one argument"),
        (("add", "1", "--delay", "soon"), 2, "invalid delay 'soon': expected a timedelta, a number of seconds"),
        (("add", "1", "--delay=-5s"), 2, "invalid delay '-5s': expected a length of time that is not negative"),
        (("add", "1", "--delay", "1e400"), 2, "invalid delay '1e400'"),
        (("add", "1", "--at", "tomorrow"), 2, "expected ISO 8601"),
        (("add", "1", "--at", "2030-01-01Z"), 2, "such as 2030-01-01T08:00:00+01:00"),
        (("add", "1", "--at", "2030-01-01T00:00"), 2, "names no offset"),
        (("add", "1", "--at", "2030-01-01"), 2, "write 2030-01-01T00:00:00Z for UTC"),
        (("add", "1", "--priority", "101"), 2, "from -100 to 100"),
        (("add", "1", "--queue", "two words"), 2, "invalid queue"),
        (("add", "1", "--key", "two words"), 2, "invalid key"),
    ],
)
def test_a_bad_request_stores_nothing(
    call: Call, target: str, words: tuple[str, ...], status: int, complaint: str
) -> None:
    """It is refused in one line that names the value and what is allowed."""
    found, out, err = call("enqueue", target, *words)

    assert (status, "") == (found, out)
    assert complaint in err
    assert [] == msgspec.json.decode(call("runs", "ls", target, "--json")[1])


def test_waiting_prints_the_result(call: Call, start, target: str) -> None:
    """``--wait`` prints nothing but the result on stdout, as JSON; a failure is an error in one line."""
    worker = start("run", target, "--loop", "trio")
    worker.wait_for("runs on")

    status, out, err = call("enqueue", target, "add", "1", "41"[:1], "--wait")
    assert (0, "5\n") == (status, out)
    assert "waiting for it" in err

    status, out, err = call("enqueue", target, "fail", "--wait")
    assert (1, "") == (status, out)
    assert "failed: ValueError: no way\n" in err
