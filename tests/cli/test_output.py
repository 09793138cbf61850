"""Where the output goes: to a closed stream, a full disk, an encoding that lacks characters."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

import anyio
import msgspec
import pytest

from anysched import Scheduler

STUCK = """
@scheduler.every("100ms")
def stuck() -> None:
    print("still to be flushed")
    print("stuck", file=__import__("sys").stderr, flush=True)
    threading.Event().wait()
"""

FOREIGN = """
@scheduler.job(name="grüßen→")
async def greet() -> None:
    pass
"""


@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-"])
def test_a_closed_output_is_no_mistake(app, start, redis_url: str, redirect: str) -> None:
    """What was asked for is done, nothing is said, and the exit status is that of success."""
    app.write(backend=redis_url)
    command = start("enqueue", app.target, "add", "1", redirect=redirect)

    assert (0, "") == (command.status(), command.output)

    async def runs() -> list[str]:
        async with Scheduler(redis_url) as scheduler:
            return [run.job for run in await scheduler.runs()]

    assert ["add"] == anyio.run(runs)


def test_a_failure_without_an_output_is_told_by_the_status(start) -> None:
    """It does not end up in the output instead."""
    command = start("runs", "ls", redirect="2>&-")

    assert (2, "") == (command.status(), command.output)


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
def test_the_third_signal_ends_a_node_without_an_output(app, start, redirect: str) -> None:
    """Nothing that cannot be flushed keeps it."""
    app.write(STUCK)
    node = start("run", app.target, redirect=redirect, PYTHONUNBUFFERED="")
    node.wait_for("stuck")

    for said in ("stopping gracefully", "stopping now", "leaving at once"):
        node.signal(SIGINT)
        node.wait_for(said) if said != "leaving at once" else None

    assert 130 == node.status()


@pytest.mark.nightly
@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
def test_a_thread_that_never_ends_is_left_behind_without_an_output(app, start, redirect: str) -> None:
    """Nor does it keep the watchdog."""
    app.write(STUCK, shutdown_timeout="100ms")
    node = start("run", app.target, redirect=redirect, PYTHONUNBUFFERED="")
    node.wait_for("stuck")
    node.signal(SIGTERM)

    assert 1 == node.status()
    assert "do not end" in node.output


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("check", "{target}"), ("completion", "bash"), ("completion", "fish")])
def test_a_full_disk_is_one_line(app, start, words: tuple[str, ...], unbuffered: str) -> None:
    """Whether the first words or the last flush find it, and the exit status is 1."""
    words = tuple(word.format(target=app.target) for word in words)
    command = start(*words, redirect=">/dev/full", PYTHONUNBUFFERED=unbuffered)

    assert 1 == command.status()
    assert "anysched: error: cannot write: [Errno 28] No space left on device\n" == command.output


def test_what_an_encoding_lacks_is_escaped(app, start) -> None:
    """For people as Python does it on stderr, for programs as JSON does it."""
    app.write(FOREIGN)
    command = start("check", app.target, PYTHONIOENCODING="ascii")

    assert 0 == command.status()
    assert r"gr\xfc\xdfen\u2192" in command.output

    command = start("check", app.target, "--json", PYTHONIOENCODING="ascii")

    assert 0 == command.status()
    assert "grüßen→" in " ".join(one["message"] for one in msgspec.json.decode(command.output))
