"""``anysched run --crontab``: commands as subprocesses, and how they are ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM

import pytest
from anyio import fail_after, sleep

from anysched import RunCancelled, RunFailed, Scheduler
from anysched.cli import crontab_job
from anysched.cli.crontab_job import declare_crontab

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def crontab(tmp_path: Path) -> Callable[..., Scheduler]:
    """A scheduler with the lines of a crontab."""

    def declare(*lines: str, time_limit: str | None = None) -> Scheduler:
        path = tmp_path / "crontab"
        path.write_text("\n".join(lines) + "\n")
        scheduler = Scheduler()
        declare_crontab(scheduler, str(path), time_limit=time_limit)
        return scheduler

    return declare


async def triggered(scheduler: Scheduler):
    """A run of the only entry, now."""
    (entry,) = await scheduler.entries()
    run = await scheduler.trigger(entry.id)
    assert run is not None
    return run


async def lines_of(path: Path, count: int) -> list[str]:
    """What a command has written, as soon as it is so many lines."""
    await until(lambda: path.exists() and len(path.read_text().splitlines()) >= count)
    return path.read_text().splitlines()  # noqa: ASYNC240 (a few bytes)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for other processes to have done something."""
    with fail_after(15):
        while not holds():  # noqa: ASYNC110 - nobody here tells what they do
            await sleep(0.02)


def is_there(pid: int) -> bool:
    """Whether a process is, zombies not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_command_runs_in_a_shell(crontab, tmp_path: Path) -> None:
    """With its settings, its shell, its input, in its home."""
    out = tmp_path / "out"
    scheduler = crontab(
        "SHELL=/bin/bash",
        f"HOME={tmp_path}",
        'GREETING="hello  world"',
        rf"@yearly echo $GREETING 100\%; echo $BASH; pwd; cat; exec > {out} < /dev/null; echo $GREETING $0 $PWD%a%b",
    )

    async with scheduler.running():
        run = await triggered(scheduler)
        await run.result()

    assert [f"hello world /bin/bash {tmp_path}"] == out.read_text().splitlines()


async def test_output_is_logged_line_by_line(crontab, caplog: pytest.LogCaptureFixture) -> None:
    """Standard output as information, errors as warnings, each line with its entry; the last line needs no end."""
    caplog.set_level("INFO", logger="anysched.crontab")
    scheduler = crontab(r"@yearly cat; printf 'no\nend'; echo oops >&2%first%second")

    async with scheduler.running():
        await (await triggered(scheduler)).result()
        (entry,) = await scheduler.entries()

    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "anysched.crontab"]
    shown = [(level, text.removeprefix(f"{entry.id}: ")) for level, text in lines]
    assert ["first", "second", "no", "end"] == [text for level, text in shown if level == "INFO"]
    assert ["oops"] == [text for level, text in shown if level == "WARNING"]


async def test_a_status_is_the_outcome(crontab) -> None:
    """Another status than 0 is a failure, and is not tried again."""
    scheduler = crontab("@yearly exit 3")

    async with scheduler.running():
        run = await triggered(scheduler)

        with pytest.raises(RunFailed, match="ended with status 3"):
            await run.result()

        assert 1 == (await run.info()).attempt


@pytest.mark.parametrize("ending", ["cancel", "limit", "stop"])
async def test_the_whole_group_is_ended(crontab, tmp_path: Path, ending: str) -> None:
    """At a cancel, at the time limit and at a stop: the shell, what it started, and what that started."""
    out = tmp_path / "pids"
    command = f"@yearly sh -c 'sleep 300 & echo $! >> {out}; wait' & echo $! >> {out}; echo $$ >> {out}; wait"
    scheduler = crontab(command, time_limit="1s" if ending == "limit" else None)

    async with scheduler.running():
        run = await triggered(scheduler)
        pids = [int(line) for line in await lines_of(out, 3)]
        assert [True] * 3 == [is_there(pid) for pid in pids]

        if ending == "cancel":
            await run.cancel()

        if ending == "stop":
            scheduler.executor.close(0)
        else:
            with pytest.raises(RunCancelled if ending == "cancel" else RunFailed):
                await run.result()

    assert [False] * 3 == [is_there(pid) for pid in pids]


async def test_what_will_not_end_is_killed(
    crontab, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seconds after it was asked to; what it says until then is logged."""
    monkeypatch.setattr(crontab_job, "GRACE", 0.5)
    caplog.set_level("INFO", logger="anysched.crontab")
    out = tmp_path / "pids"
    scheduler = crontab(f"@yearly trap 'echo never' TERM; echo $$ > {out}; while :; do sleep 0.1; done")

    async with scheduler.running():
        run = await triggered(scheduler)
        (pid,) = [int(line) for line in await lines_of(out, 1)]
        await run.cancel()

        await until(lambda: not is_there(pid))

    assert "never" in caplog.text
    assert "is killed" in caplog.text


def test_a_crontab_runs_until_a_signal(start, tmp_path: Path) -> None:
    """Without an application and without a server, on one machine."""
    (tmp_path / "tab").write_text("MAILTO=ada\n@every 300ms echo tick\n@every 300ms exit 4\n")
    node = start("run", "--crontab", "tab", "--loop", "trio")
    node.wait_for(": tick", times=2)
    node.wait_for("the command ended with status 4")
    node.signal(SIGINT)

    assert 0 == node.status()
    assert "tab, line 1: MAILTO is ignored" in node.output
    assert "Traceback" not in node.output


def test_a_malformed_crontab_starts_nothing(call: Call, tmp_path: Path) -> None:
    """The line is named, and no command has run."""
    (tmp_path / "tab").write_text(f"* * * * * touch {tmp_path}/ran\n\n61 * * * * b\n")
    status, _, err = call("run", "--crontab", "tab")

    assert 1 == status
    assert "anysched: error: tab is malformed, and nothing was started: line 3: invalid minute '61'" in err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("content", "complaint"), [(None, "No such file"), (b"@daily \xff", "not UTF-8")])
def test_an_unreadable_crontab_is_an_error(call: Call, tmp_path: Path, content: bytes | None, complaint: str) -> None:
    """A file that is missing, or is no text."""
    if content is not None:
        (tmp_path / "tab").write_bytes(content)

    status, _, err = call("run", "--crontab", "tab")

    assert 1 == status
    assert complaint in err


@pytest.mark.slow
def test_each_line_runs_once_in_the_cluster(start, tmp_path: Path, redis_url: str) -> None:
    """Two nodes, one of them killed half-way: no tick of any line is run twice, and the other goes on alone."""
    log = tmp_path / "log"
    text = "".join(f"*/2 * * * * /bin/false {number}\n@every 1s echo {number} >> {log}\n" for number in range(10))
    (tmp_path / "tab").write_text(text)
    words = ("run", "--crontab", "tab", "--backend", redis_url)
    nodes = [start(*words), start(*words, "--loop", "trio")]
    nodes[0].wait_for("runs on")
    nodes[1].wait_for("runs on")
    nodes[0].wait_for("run succeeded", times=5)
    nodes[1].wait_for("run succeeded", times=5)
    nodes[0].signal(SIGKILL)
    nodes[1].wait_for("run succeeded", times=60)
    nodes[1].signal(SIGTERM)
    assert 0 == nodes[1].status()

    fired = [line.split("entry_id=")[1] for node in nodes for line in node.output.splitlines() if "entry fired" in line]
    times = [line.split(" ", 1)[0] + line.split("scheduled_for=")[1] for line in fired]
    assert len(times) == len(set(times))
    assert 50 <= len(log.read_text().splitlines())
