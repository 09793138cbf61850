"""``anysched enqueue``: work for a real Redis, and what is refused before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

Call = Callable[..., tuple[int, str, str]]


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
    due, made = datetime.fromisoformat(run["due_at"]), datetime.fromisoformat(run["enqueued_at"])

    assert timedelta(hours=1) == due - made


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("nope",), 1, "there is no job 'nope'; the jobs known here: add, digest, fail"),
        (("add",), 1, "do not fit job 'add'"),
        (("add", "one"), 1, "'one' is not JSON"),
        (("add", '"one"'), 1, "Expected `int`, got `str`"),
        (("add", "1", "2", "3"), 1, "do not fit job 'add'"),
        (("add", "1", "--kw", "c=1"), 1, "do not fit job 'add'"),
        (("add", "1", "--kw", "b"), 2, "expected NAME=JSON"),
        (("add", "1", "--kw", "b=1", "--kw", "b=2"), 2, "each name once"),
        (("add", "1", "--delay", "-5s"), 2, "expected one argument"),
        (("add", "1", "--delay", "soon"), 1, "invalid delay 'soon'"),
        (("add", "1", "--at", "tomorrow"), 2, "expected ISO 8601"),
        (("add", "1", "--at", "2030-01-01T00:00"), 2, "names no offset"),
        (("add", "1", "--priority", "101"), 1, "from -100 to 100"),
        (("add", "1", "--queue", "two words"), 1, "invalid queue"),
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
