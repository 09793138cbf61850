"""``anysched run``: what it does with signals, and with which status it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from signal import SIGINT, SIGKILL, SIGTERM

import pytest

from anysched.cli.journal import set_up_logging

Call = Callable[..., tuple[int, str, str]]

LOOPS = ["asyncio", "trio"]

SLEEPER = """
@scheduler.every("100ms", {options})
async def sleeper() -> None:
    print("sleeping", flush=True)
    await anyio.sleep({seconds})
    print("slept", flush=True)
"""

STUCK = """
@scheduler.every("100ms")
def stuck() -> None:
    print("stuck", flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("loop", [*LOOPS, "uvloop"])
@pytest.mark.parametrize("signal", [SIGINT, SIGTERM])
def test_the_first_signal_is_graceful(app, start, loop: str, signal: int) -> None:
    """What runs is let finish, nothing new begins, and the exit status is 0."""
    app.write(SLEEPER.format(seconds=0.5, options=""))
    node = start("run", app.target, "--loop", loop)
    node.wait_for("sleeping")
    node.signal(signal)

    assert 0 == node.status()
    assert node.output.count("sleeping") == node.output.count("slept")
    assert "node left" in node.output


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("signal", "status"), [(SIGINT, 130), (SIGTERM, 143)])
def test_the_second_signal_is_at_once(app, start, loop: str, signal: int, status: int) -> None:
    """What runs is cancelled and handed back, and the exit status says which signal it was."""
    app.write(SLEEPER.format(seconds=60, options=""), shutdown_timeout="60s")
    node = start("run", app.target, "--loop", loop)
    node.wait_for("sleeping")
    node.signal(SIGINT)
    node.wait_for("stopping gracefully")
    before = time.monotonic()
    node.signal(signal)

    assert status == node.status()
    assert time.monotonic() - before < 3
    assert "run handed back" in node.output
    assert "slept" not in node.output


def test_a_graceful_stop_is_limited(app, start) -> None:
    """After the configured time what still runs is cancelled and handed back; that is in good order too."""
    app.write(SLEEPER.format(seconds=60, options=""), shutdown_timeout="200ms")
    node = start("run", app.target)
    node.wait_for("sleeping")
    node.signal(SIGTERM)

    assert 0 == node.status()
    assert "run handed back" in node.output


@pytest.mark.slow
def test_a_thread_that_never_ends_is_left_behind(app, start) -> None:
    """Nobody can end a thread, so the process ends without it once a graceful stop has had its time."""
    app.write(STUCK, shutdown_timeout="100ms")
    node = start("run", app.target)
    node.wait_for("stuck")
    node.signal(SIGTERM)

    assert 1 == node.status()
    assert "functions in threads (1) do not end" in node.output


def test_the_third_signal_waits_for_nothing(app, start) -> None:
    """Not even for a thread."""
    app.write(STUCK)
    node = start("run", app.target)
    node.wait_for("stuck")

    for said in ("stopping gracefully", "stopping now", "leaving at once"):
        node.signal(SIGINT)
        node.wait_for(said) if said != "leaving at once" else None

    assert 130 == node.status()


def test_the_first_line_says_what_runs_where(app, start, redis_url: str) -> None:
    """Node, server without credentials, namespace, loop, queues, jobs, entries, capacity."""
    app.write(backend=redis_url)
    node = start("run", app.target, "--queue", "mail", "--queue", "low", "--concurrency", "7", "--loop", "trio")
    node.wait_for("at once: 7")
    node.signal(SIGTERM)

    assert 0 == node.status()
    assert "loop trio; queues: mail, low; jobs: 3; entries: 1; at once: 7" in node.output
    assert "(redis " in node.output


def test_it_can_only_execute_or_only_fire(app, start) -> None:
    """``--no-schedules`` fires nothing, ``--only-schedules`` executes nothing."""
    app.write(SLEEPER.format(seconds=0, options=""))
    executing = start("run", app.target, "--no-schedules")
    firing = start("run", app.target, "--only-schedules")
    firing.wait_for("entry fired")
    executing.wait_for("entries: not fired here")

    for node in (executing, firing):
        node.signal(SIGTERM)
        assert 0 == node.status()
        assert "slept" not in node.output

    assert "entry fired" not in executing.output
    assert "queues: none" in firing.output


def test_a_backend_that_is_not_there_is_one_line(app, start) -> None:
    """The exit status is 1, and there is no traceback."""
    app.write(backend="redis://localhost:1")
    node = start("run", app.target)

    assert 1 == node.status()
    assert "anysched: error: " in node.output
    assert "Traceback" not in node.output


@pytest.mark.parametrize(
    ("level", "verbose", "kept"),
    [
        (logging.NOTSET, False, logging.CRITICAL),
        (logging.NOTSET, True, logging.NOTSET),
        (logging.INFO, False, logging.INFO),
    ],
)
def test_what_a_client_library_logs_is_left_out(
    monkeypatch: pytest.MonkeyPatch, level: int, verbose: bool, kept: int
) -> None:
    """The node says in a line of its own that the backend is gone. An application's own choice stays."""
    for name in ("anysched", "coredis"):
        monkeypatch.setattr(logging.getLogger(name), "level", level)

    set_up_logging(verbose=verbose)
    found = logging.getLogger("coredis").level
    # Levels are cached, and only setLevel() forgets them.
    logging.getLogger("coredis").setLevel(logging.NOTSET)
    logging.getLogger("anysched").setLevel(logging.NOTSET)

    assert kept == found


def test_a_failing_job_is_in_the_log_with_its_traceback(app, start) -> None:
    """The event is one line, whatever the exception says; where it was raised is below it."""
    app.write('\nscheduler.every("100ms", id="f")(fail)\n')
    node = start("run", app.target)
    node.wait_for("ValueError: no way\n")
    node.wait_for("raise ValueError(message)")
    node.signal(SIGTERM)

    assert 0 == node.status()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "say what to run"),
        (("--backend", "redis://localhost"), "--backend alone has no jobs"),
        (("{target}", "--only-schedules", "--queue", "mail"), "leave out --queue"),
        (("{target}", "--time-limit", "5s"), "--time-limit is for the commands of --crontab"),
        (("--crontab", "no-file", "--time-limit", "soon"), "invalid time-limit 'soon'"),
        (("{target}", "--queue", "two words"), "invalid queue 'two words'"),
        (("--crontab", "no-file", "--namespace", "two words"), "invalid namespace 'two words'"),
        (("{target}", "--no-schedules", "--only-schedules"), "not allowed with"),
        (("{target}", "--concurrency", "0"), "not a whole number from 1"),
        (("{target}", "--backend", "redis://localhost"), "leave out --backend"),
    ],
)
def test_a_senseless_request_is_refused(app, call: Call, words: tuple[str, ...], complaint: str) -> None:
    """The exit status is 2."""
    status, _, err = call("run", *(word.format(target=app.target) for word in words))

    assert 2 == status
    assert complaint in err


def test_a_killed_node_is_replaced(app, start, redis_url: str) -> None:
    """What a killed process had running is run by another one when the lease has run out."""
    # A lease of a second: the shortest there is.
    app.write(backend=redis_url)
    path = app.folder / f"{app.name}.py"
    path.write_text(path.read_text().replace("SchedulerConfig(", 'SchedulerConfig(lease="1s", ') + LONG)
    first = start("run", app.target, "--no-schedules")
    first.wait_for("runs on")
    client = start("enqueue", app.target, "long")
    assert 0 == client.status()
    first.wait_for("attempt by")
    second = start("run", app.target, "--no-schedules", "--loop", "trio")
    second.wait_for("runs on")
    first.signal(SIGKILL)
    second.wait_for("attempt by")
    second.signal(SIGTERM)

    assert 0 == second.status()


LONG = """
@scheduler.job
async def long() -> None:
    print("attempt by", os.getpid(), flush=True)

    # Only the first attempt takes longer than the test has.
    if not os.path.exists("begun"):
        open("begun", "w").close()
        await anyio.sleep(600)
"""
