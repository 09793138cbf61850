"""The lines of a crontab as entries, and the one job that runs their commands.

A command runs through a shell, in a process group of its own, and lasts as long as anything of it has its output open,
as with cron. Its environment is this process's with the crontab's settings over it; ``SHELL`` is honoured, and
``HOME``, if the crontab sets it, is where it starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM
from subprocess import DEVNULL, PIPE
from typing import Final, cast

from anyio import BrokenResourceError, create_task_group, current_time, move_on_after, open_process, sleep
from anyio.abc import ByteReceiveStream, Process

from anysched.cli.carrying import warn
from anysched.cli.crontab import Crontab, CrontabEntry, parse_crontab
from anysched.cli.failures import CommandExited, UnreadableFile
from anysched.context import current_run
from anysched.durations import Duration
from anysched.registry import Declare, EntryOptions
from anysched.retry import RetryPolicy
from anysched.scheduler import Scheduler
from anysched.schedules import Cron, Every

__all__ = ["JOB_NAME", "declare_crontab", "run_command"]

JOB_NAME: Final = "crontab.command"

GRACE: Final = 5.0
"""Seconds from SIGTERM to SIGKILL: what a shell needs to pass it on and a program to tidy up, within a fast stop."""

_MISSED_FOR: Final = "3h"
"""What is later than this is not made up for: Vixie cron makes up for jumps of the clock of less than three hours."""

_LONGEST_LINE: Final = 16 * 1024
_LAST_WORDS: Final = 0.5
"""Seconds that output gets to arrive when its writers are gone."""

_log = logging.getLogger("anysched.crontab")


def declare_crontab(scheduler: Scheduler, path: str, *, time_limit: Duration | None = None) -> Crontab:
    """Declare an entry for each line of a crontab. Whoever stops declaring it lets it end, as with any entry.

    Args:
        scheduler: what is to run them.
        path: of the file.
        time_limit: of each command; None: unlimited.

    Raises:
        UnreadableFile: there is no such file, or it is no text.
        InvalidCrontab: a line is malformed; nothing has been declared.
        InvalidDuration: the time limit cannot be read.
    """
    crontab = parse_crontab(_read(path), name=path)
    job = scheduler.job(name=JOB_NAME, timeout=time_limit, retry=RetryPolicy(max_retries=0))(run_command)

    for number, message in crontab.warnings:
        warn(f"{path}, line {number}: {message}")

    for entry in crontab.entries:
        _declare(scheduler, entry)(job)

    return crontab


async def run_command(command: str, input: str | None = None, environment: Mapping[str, str] | None = None) -> None:
    """Run a command through a shell. If this is cancelled, its process group is ended.

    Args:
        command: for ``/bin/sh -c``, or for what ``SHELL`` says.
        input: its standard input.
        environment: over this process's own.

    Raises:
        CommandExited: its status is not 0.
        OSError: the shell cannot be started.
    """
    settings = dict(environment or {})
    process = await open_process(
        [settings.get("SHELL", "/bin/sh"), "-c", command],
        stdin=DEVNULL if input is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **settings},
        cwd=settings.get("HOME"),
        start_new_session=True,
    )

    try:
        async with create_task_group() as streams:
            streams.start_soon(_feed, process, input)
            streams.start_soon(_log_lines, process.stdout, logging.INFO)
            streams.start_soon(_log_lines, process.stderr, logging.WARNING)

        status = await process.wait()
    except BaseException:
        await _end_group(process)  # noqa: ASYNC102 - it shields and limits itself
        raise

    await process.aclose()

    if status != 0:
        raise CommandExited(status)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise UnreadableFile(path, f"it is not UTF-8 ({error.reason} at byte {error.start})") from None


def _declare(scheduler: Scheduler, entry: CrontabEntry) -> Declare:
    schedule = entry.schedule
    options = EntryOptions(
        id=entry.id,
        args=(entry.command, entry.input, dict(entry.environment)),
        overlap="allow",  # as cron does
        misfire="latest",
        misfire_grace=_MISSED_FOR,
    )

    if isinstance(schedule, Every):
        return scheduler.every(schedule, **options)

    return scheduler.cron(cast("Cron", schedule).with_default_timezone(scheduler.timezone), **options)


# --- a command and its streams -------------------------------------------------------------------------------------


async def _feed(process: Process, text: str | None) -> None:
    if process.stdin is None:
        return

    # A command need not read what it is given.
    with suppress(BrokenResourceError):
        await process.stdin.send((text or "").encode())

    await process.stdin.aclose()


async def _log_lines(stream: ByteReceiveStream | None, level: int) -> None:
    assert stream is not None
    begun = b""

    async for chunk in stream:
        *lines, begun = (begun + chunk).split(b"\n")

        for line in lines:
            _log_line(line, level)

        # What never ends a line must not fill the memory.
        if len(begun) > _LONGEST_LINE:
            _log_line(begun, level)
            begun = b""

    if begun:
        _log_line(begun, level)


def _log_line(line: bytes, level: int) -> None:
    _log.log(level, "%s: %s", current_run().entry_id or JOB_NAME, line.decode(errors="replace").rstrip("\r"))


# --- the end of a process group ------------------------------------------------------------------------------------


async def _end_group(process: Process) -> None:
    """End everything that a command has started: politely, then not."""
    with move_on_after(GRACE, shield=True) as grace:
        _signal_group(process.pid, SIGTERM)

        async with create_task_group() as last_words:
            last_words.start_soon(_log_lines, process.stdout, logging.INFO)
            last_words.start_soon(_log_lines, process.stderr, logging.WARNING)
            await process.wait()

            # There is nothing to await: the members of the group are not our children.
            while _is_alive(process.pid):  # noqa: ASYNC110 - see above
                await sleep(0.1)

            # What has left the group may hold the output open for as long as it likes.
            last_words.cancel_scope.deadline = current_time() + _LAST_WORDS

    if grace.cancelled_caught:
        _log.warning("process group %d did not end within %g s, and is killed", process.pid, GRACE)
        _signal_group(process.pid, SIGKILL)

    with move_on_after(_LAST_WORDS, shield=True):
        await process.aclose()


def _is_alive(group: int) -> bool:
    """Whether anything of a process group, whose leader has been awaited, still runs."""
    # Orphans come to whoever is process 1, which in a container may be us.
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass

    return _signal_group(group, 0) and not _is_all_zombies(group)


def _is_all_zombies(group: int) -> bool:
    """Whether the group is there only because process 1 does not reap. Where that cannot be seen, it is not."""
    states: list[str] = []

    for path in Path("/proc").glob("[0-9]*/stat"):
        # It may be gone by now. The name in parentheses may have anything in it.
        with suppress(OSError):
            state, _, its_group = path.read_text(errors="replace").rpartition(")")[2].split()[:3]

            if int(its_group) == group:
                states.append(state)

    return bool(states) and set(states) == {"Z"}


def _signal_group(group: int, signal: int) -> bool:
    """Send a signal to a process group; whether there is one. Signal 0 only looks."""
    try:
        os.killpg(group, signal)
    except (ProcessLookupError, PermissionError):
        return False

    return True
