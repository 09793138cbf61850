"""Jobs that run in processes: what they raise is judged as if it had been raised here."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from anysched import Backend, NotInRun, RetryPolicy, RunFailed, Scheduler, SchedulerConfig

JOBS = """
import sys

from anysched import DoNotRetry, current_run


class ApiError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


def refuses():
    raise ApiError(503, "busy")


def asks():
    return current_run().id


def gives_up():
    raise DoNotRetry("never")


def leaves():
    sys.exit(3)


def returns():
    return 1
"""

PROGRAM = """
import sys

import anyio

from anysched import RetryPolicy, RunFailed, Scheduler, SchedulerConfig


class ApiError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))


@scheduler.job(runs_in="process", retry=RetryPolicy(max_retries=2, initial=0, give_up_on=ApiError))
def refuses():
    raise ApiError(503, "busy")


async def main():
    async with scheduler.running():
        run = await refuses.enqueue()

        try:
            await run.result()
        except RunFailed as failed:
            print(failed.error, (await run.info()).attempt)


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that a worker process can import."""
    (tmp_path / "jobs_in_processes.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("jobs_in_processes")
    del sys.modules["jobs_in_processes"]


async def test_what_is_raised_in_a_process_is_judged_like_any_error(
    anysched_backend: Backend, jobs: Any, real_time: None
) -> None:
    """By its class and its name; kept with its message and a traceback that names the function's file. There is no
    current run there, which is said. The process stays, whatever was raised.

    Break: what pickle makes of it is retried in place of what the policy would have given up on; and after SystemExit
    the next function finds nobody.
    """
    scheduler = Scheduler(anysched_backend, config=SchedulerConfig(on_error=lambda error, context: None))
    policy = RetryPolicy(max_retries=1, initial=0, give_up_on=jobs.ApiError)
    named = RetryPolicy(max_retries=1, initial=0, give_up_on="jobs_in_processes.ApiError")
    declare = partial(scheduler.job, runs_in="process")
    raising = [
        declare(name="by-class", retry=policy)(jobs.refuses),
        declare(name="by-name", retry=named)(jobs.refuses),
        declare(name="asks", retry=policy)(jobs.asks),
        declare(name="gives-up", retry=policy)(jobs.gives_up),
        declare(name="leaves", retry=RetryPolicy(max_retries=0))(jobs.leaves),
    ]
    returning = declare(name="returns", retry=RetryPolicy(max_retries=0))(jobs.returns)
    found: list[tuple[str, str, int]] = []

    async with scheduler.running():
        for job in raising:
            run = await job.enqueue()

            with pytest.raises(RunFailed) as caught:
                await run.result()

            error = caught.value.error
            found.append((error.type, error.message, (await run.info()).attempt))
            assert str(jobs.__file__) in error.traceback
            assert 1 == await (await returning.enqueue()).result()

    assert [
        ("jobs_in_processes.ApiError", "503: busy", 1),
        ("jobs_in_processes.ApiError", "503: busy", 1),
        ("anysched.errors.NotInRun", str(NotInRun()), 2),
        ("anysched.retry.DoNotRetry", "never", 1),
        ("builtins.SystemExit", "3", 1),
    ] == found


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_an_exception_of_the_started_script_is_its_own(loop: str, tmp_path: Path) -> None:
    """The script is a module of another name in the process: its exceptions are known by their class here all the same.

    Break: the class is looked for under that name, which nobody has here.
    """
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-W", "error", str(program), loop]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)

    assert ("__main__.ApiError: 503: busy 1\n", "") == (done.stdout, done.stderr)
