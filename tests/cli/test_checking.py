"""``anysched check``: each thing with a verdict of its own."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from anysched.testing import RedisServer

Call = Callable[..., tuple[int, str, str]]


def verdicts(call: Call, *words: str) -> tuple[int, dict[str, set[str]]]:
    """The exit status, and the verdicts on each thing."""
    status, out, _ = call("check", *words, "--json")
    found: dict[str, set[str]] = {}
    for line in msgspec.json.decode(out):
        assert ["check", "verdict", "message"] == list(line)
        found.setdefault(line["check"], set()).add(line["verdict"])
    return status, found


def test_memory_is_worth_a_warning(app, call: Call) -> None:
    """A scheduler in memory is fine, but what it keeps is not kept."""
    status, found = verdicts(call, app.target)

    assert 0 == status
    assert {"WARN"} == found["backend"]
    assert {"OK"} == found["application"] | found["configuration"] | found["jobs"] | found["entries"]


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_real_server_is_looked_over(app, call: Call, redis_url: str, loop: str) -> None:
    """Connection, version, eviction, round trip, clocks, data and jobs all have a line."""
    app.write(backend=redis_url)
    status, found = verdicts(call, app.target, "--loop", loop)

    assert 0 == status
    for check in ("connection", "eviction", "round trip", "clocks", "nodes", "stored", "orphans"):
        assert {"OK"} == found[check], check


def test_a_dangerous_eviction_policy_is_warned_of(call: Call) -> None:
    """A server that may throw away runs gets a warning."""
    with RedisServer(own=True, appendonly=False, options={"maxmemory-policy": "allkeys-lru"}) as server:
        status, found = verdicts(call, "--backend", server.url)

    assert (0, {"WARN"}) == (status, found["eviction"])


def test_a_wrong_password_and_a_dead_server_fail(call: Call) -> None:
    """The exit status is 1, and no password is shown."""
    with RedisServer(own=True, appendonly=False, requirepass="opensesame") as server:
        url = server.url
        status, out, err = call("check", "--backend", url.replace("opensesame", "wrongword"))
        assert 1 == status
        assert "FAIL" in out
        assert "wrongword" not in out + err

    status, found = verdicts(call, "--backend", url)
    assert (1, {"FAIL"}) == (status, found["connection"])


def test_an_application_that_cannot_be_imported_fails(call: Call) -> None:
    """It is one of the verdicts, not an error of the command."""
    status, found = verdicts(call, "no_such_app:x")

    assert (1, {"FAIL"}) == (status, found["application"])


def test_a_setting_that_does_not_parse_fails(app, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is looked at too."""
    monkeypatch.setenv("ANYSCHED_LEASE", "soon")
    status, found = verdicts(call, app.target)

    assert (1, {"FAIL"}) == (status, found["environment"])


def test_what_nobody_serves_is_noticed(app, call: Call, redis_url: str) -> None:
    """A job in a queue that is not configured, and an entry that never fires, get warnings."""
    more = """
@scheduler.cron("0 0 30 2 *", queue="mail")
async def never() -> None: ...
"""
    app.write(more, backend=redis_url)
    status, found = verdicts(call, app.target)

    assert 0 == status
    assert {"WARN"} == found["queues"]
    assert {"OK", "WARN"} == found["entries"]


def test_an_annotation_that_cannot_be_used_fails(app, call: Call) -> None:
    """A job whose arguments can never be decoded is found before it is run."""
    app.write("""
@scheduler.job
async def broken(value: NoSuchType) -> None: ...
""")
    status, found = verdicts(call, app.target)

    assert (1, {"FAIL"}) == (status, found["jobs"])
