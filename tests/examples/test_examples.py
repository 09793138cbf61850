"""Each example runs to its end and prints what it shows, on each event loop that it can run on."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anysched.testing import virtual_time

EXAMPLES = Path(__file__).parents[2] / "examples"
BOTH = pytest.mark.parametrize("loop", ["asyncio", "trio"])


def shown_by(example: str, loop: Any, capsys: pytest.CaptureFixture[str], *, start: str = "2026-01-01") -> list[str]:
    """The lines that an example prints, in virtual time."""
    main = runpy.run_path(str(EXAMPLES / example))["main"]
    virtual_time(main, backend=loop, start=datetime.fromisoformat(start).replace(tzinfo=UTC))
    return capsys.readouterr().out.splitlines()


@BOTH
def test_quickstart_greets_while_its_heart_beats(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A result comes at once, and two beats fit into five seconds."""
    assert ["hello Ada", "still here", "still here"] == shown_by("quickstart.py", loop, capsys)


def test_a_nursery_closes_by_itself_after_a_stop(capsys: pytest.CaptureFixture[str]) -> None:
    """The job that is running when the stop comes still ends."""
    assert ["cellar: 60.0", "cellar is archived", "all closed"] == shown_by("trio_nursery.py", "trio", capsys)


@BOTH
def test_a_web_application_enqueues_and_shows_results(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From its request handlers, while its lifespan lasts."""
    pytest.importorskip("starlette")
    pytest.importorskip("httpx")

    assert ["accepted", "one two", "404"] == shown_by("starlette_app.py", loop, capsys)


@BOTH
def test_a_store_refuses_the_write_of_an_older_lease(
    loop: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write with the smaller token comes later and changes nothing."""
    monkeypatch.delenv("ANYSCHED_BACKEND", raising=False)
    expected = ["stored: by the quick one", "refused: by the slow one", "what stays: by the quick one"]

    assert expected == shown_by("fenced_lock.py", loop, capsys)


@BOTH
def test_a_store_refuses_the_write_of_an_older_lease_on_redis(loop: str, redis_url: str) -> None:
    """The same, where the tokens are made by a server."""
    expected = ["stored: by the quick one", "refused: by the slow one", "what stays: by the quick one"]

    assert expected == program("fenced_lock.py", loop, redis_url)


@pytest.mark.slow
@BOTH
def test_a_year_of_crontab_takes_a_moment(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line fires as often as the calendar says, and at half past two in each night of the year once."""
    expected = [
        "hourly          8759",
        "nightly          365",
        "workdays         261",
        "13th-or-friday    62",
        "last-of-month     12",
        "first-monday      12",
        "02:30 in the two odd nights: 03-29 01:00 UTC, 10-25 00:30 UTC",
    ]
    shown = shown_by("year_of_crontab.py", loop, capsys)

    assert sorted(expected) == sorted(shown)


@BOTH
def test_a_nightly_report_is_retried_until_its_deadline(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One night goes well, one at the second attempt, and one ends in an alert before the deadline."""
    expected = [
        "02 02:30 done",
        "03 02:30 attempt 1 failed, again in 0:05:00",
        "03 02:35 done",
        "04 02:30 attempt 1 failed, again in 0:05:00",
        "04 02:35 attempt 2 failed, again in 0:10:00",
        "04 02:45 attempt 3 failed, again in 0:20:00",
        "04 03:05 attempt 4 failed, again in 0:40:00",
        "04 03:45 attempt 5 failed, again in 1:00:00",
        "04 04:45 attempt 6 failed, again in 1:00:00",
        "04 05:45 ALERT report gave up: ConnectionError: the database does not answer",
        "04 March: failed",
        "03 March: succeeded",
        "02 March: succeeded",
    ]

    assert expected == shown_by("nightly_report.py", loop, capsys, start="2026-03-01T20:00")


@BOTH
def test_a_crawler_sees_each_page_once_and_spares_the_site(loop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All forty-one pages, those that failed at first too, and never more than four at once."""
    *failures, summary = shown_by("crawler.py", loop, capsys)

    assert [f"page, attempt 1: ConnectionResetError('/{n}')" for n in (10, 20, 30, 40)] == sorted(failures)
    assert "41 pages, 41 pictures, at most 4 pages at once" == summary


@BOTH
def test_a_client_is_served_by_workers_in_other_processes(loop: str, redis_url: str) -> None:
    """The results come from two workers, which end in good order when they are told to."""
    workers = [started("separate_processes/worker.py", loop, redis_url) for _ in range(2)]

    try:
        assert ["ready\n"] * 2 == [worker.stdout.readline() for worker in workers if worker.stdout is not None]
        client = program("separate_processes/client.py", loop, redis_url)
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGTERM)

        ended = [worker.communicate(timeout=20) for worker in workers]

    assert ["invoice 1: 19.99", "invoice 2: 39.98", "invoice 3: 59.97"] == client
    assert [("stopped\n", "")] * 2 == ended
    assert [0, 0] == [worker.returncode for worker in workers]


# --- programs --------------------------------------------------------------------------------------------------------

# What the last lines of an example do, on a loop of our choice.
RUN = """
import runpy, sys, anyio
from pathlib import Path
example, loop = sys.argv[1:]
sys.path.insert(0, str(Path(example).parent))
anyio.run(runpy.run_path(example)["main"], backend=loop)
"""


def command(example: str, loop: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", RUN, str(EXAMPLES / example), loop]


def environment(redis_url: str) -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "ANYSCHED_BACKEND": redis_url, "PYTHONPATH": path}


def program(example: str, loop: str, redis_url: str) -> list[str]:
    """The lines that an example prints in a process of its own, which has to end well."""
    done = subprocess.run(
        command(example, loop), env=environment(redis_url), stdout=subprocess.PIPE, text=True, check=True, timeout=30
    )
    return done.stdout.splitlines()


def started(example: str, loop: str, redis_url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(example, loop),
        env=environment(redis_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
