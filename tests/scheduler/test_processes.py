"""Jobs that run in processes: what they raise is judged as if it had been raised here."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from anysched import Backend, Executor, NotInRun, RetryPolicy, RunFailed, Scheduler, SchedulerConfig

JOBS = """
import os
import subprocess
import sys

import anyio

from anysched import DoNotRetry, Scheduler, current_run


class ApiError(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")


def refuses():
    raise ApiError(503, "busy")


def asks():
    run = current_run()
    assert "RunContext(id=" in repr(run)
    return [run.id, run.job, run.attempt, run.deadline is not None, run.fencing_token, run.metadata]


def wants_state():
    return current_run().state


def wants_to_know():
    return current_run().shutting_down


def reports():
    current_run().report_progress(0.5)


def sets():
    current_run().set_progress(0.5).send(None)


def has_run():
    try:
        return current_run().id
    except LookupError as error:
        return str(error)


def gives_up():
    raise DoNotRetry("never")


def leaves():
    sys.exit(3)


def returns():
    return 1


def prints(path):
    with open(path, "a") as effects:
        effects.write("done ")

    subprocess.run(["echo", "for people"], check=True)
    os.write(1, b"for people")
    return "printed"


def reads():
    return subprocess.run(["cat"], capture_output=True, text=True, check=True).stdout, os.read(0, 10)


def dies():
    os._exit(3)


def schedules():
    async def main():
        async with Scheduler() as scheduler:
            return await scheduler.entries()

    return anyio.run(main)
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


# Nobody hands a process the program's arguments.
UNGUARDED = (
    PROGRAM.partition("if __name__")[0]
    + """
import os

anyio.run(main, backend=os.environ["ITS_LOOP"])
"""
)


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
    """By its class and its name; kept with its message and a traceback that names the function's file. The process
    stays, whatever was raised.

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
        ("anysched.retry.DoNotRetry", "never", 1),
        ("builtins.SystemExit", "3", 1),
    ] == found


async def test_a_process_may_have_children_that_print_and_read(jobs: Any, tmp_path: Path, real_time: None) -> None:
    """What they print is no answer of the process, and what they read no function for it.

    Break: the work is done, the process then taken for broken, and the work done again; or a child waits for ever.
    """
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    declare = partial(scheduler.job, runs_in="process", timeout="20s", retry=RetryPolicy(max_retries=1, initial=0))
    prints, reads = declare(name="prints")(jobs.prints), declare(name="reads")(jobs.reads)
    effects = tmp_path / "effects"

    async with scheduler.running():
        for _ in range(2):
            assert "printed" == await (await prints.enqueue(str(effects))).result()
            assert ["", ""] == await (await reads.enqueue()).result()

    assert "done done " == effects.read_text()


async def test_a_process_that_ends_has_words(jobs: Any, real_time: None) -> None:
    """It is said what has become of it, where AnyIO says nothing; the next function finds another."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    declare = partial(scheduler.job, runs_in="process", retry=RetryPolicy(max_retries=0))
    dies, returns = declare(name="dies")(jobs.dies), declare(name="returns")(jobs.returns)

    async with scheduler.running():
        with pytest.raises(RunFailed, match="BrokenWorkerProcess: the process ended, or its pipe broke, before it"):
            await (await dies.enqueue()).result()

        assert 1 == await (await returns.enqueue()).result()


async def test_a_function_in_a_process_may_use_a_scheduler(jobs: Any, real_time: None) -> None:
    """Once the process has read the program. There it is a client like any other."""
    scheduler = Scheduler(config=SchedulerConfig(on_error=lambda error, context: None))
    schedules = scheduler.job(name="schedules", runs_in="process", retry=RetryPolicy(max_retries=0))(jobs.schedules)

    async with scheduler.running():
        assert [] == await (await schedules.enqueue()).result()


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_program_that_runs_anew_in_its_processes_is_refused(loop: str, tmp_path: Path) -> None:
    """Each process reads it, and what starts it is not guarded. The run says so, and what to do.

    Break: each process becomes a node, which with Redis enqueues and executes, and starts processes itself.
    """
    program = tmp_path / "program.py"
    program.write_text(UNGUARDED)
    where = {**os.environ, "ITS_LOOP": loop}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=where)

    assert done.stdout.startswith("anyio.BrokenWorkerProcess: ")
    assert "InvalidState: this program is being read by a worker process: guard what starts it by `if" in done.stdout


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


async def test_a_function_in_a_process_knows_its_run(anysched_backend: Backend, jobs: Any, real_time: None) -> None:
    """What can go there. What stays with the node is asked for in vain, with the reason; and afterwards there is none.

    Break: there is no current run, "for functions that a worker calls", in a function that a worker calls.
    """
    config = SchedulerConfig(on_error=lambda error, context: None)
    scheduler = Scheduler(anysched_backend, config=config, executor=Executor(max_processes=1))
    declare = partial(scheduler.job, runs_in="process", retry=RetryPolicy(max_retries=0))
    asks = declare(name="asks")(jobs.asks)
    vain = [declare(job) for job in (jobs.wants_state, jobs.wants_to_know, jobs.reports, jobs.sets)]
    said: list[str] = []

    async with scheduler.running():
        run = await asks.options(metadata={"a": [1]}, deadline="1h").enqueue()
        result = await run.result()
        info = await run.info()
        assert [run.id, "asks", 1, True, info.fencing_token, {"a": [1]}] == result

        for job in vain:
            with pytest.raises(RunFailed) as caught:
                await (await job.enqueue()).result()

            assert "anysched.errors.InvalidOption" == caught.value.error.type
            said.append(caught.value.error.message)

        assert str(NotInRun()) == await scheduler.executor.call(jobs.has_run, (), {}, "process")

    assert [
        "invalid runs_in 'process': expected 'loop' or 'thread' for state, which the lifespan yields at the node",
        "invalid runs_in 'process': expected 'loop' or 'thread' for shutting_down, which is set at the node",
        "invalid runs_in 'process': expected 'loop' or 'thread' for report_progress()",
        "invalid runs_in 'process': expected 'loop' or 'thread' for set_progress()",
    ] == said
