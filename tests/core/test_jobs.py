"""Jobs, their options, and the calls that are made into runs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from anysched.blueprint import Blueprint
from anysched.clock import to_ms
from anysched.codec import Codec, JsonCodec
from anysched.errors import (
    AnySchedError,
    CannotDecode,
    CannotEncode,
    DuplicateJob,
    InvalidArguments,
    InvalidDuration,
    InvalidOption,
    InvalidSchedule,
    JobNotIncluded,
    NaiveDatetime,
)
from anysched.job import BoundJob, Job
from anysched.options import RunOptions, RunSettings, by_arguments, decode_options, encode_options
from anysched.registry import Registry
from anysched.retry import RetryPolicy
from anysched.run_handle import Run
from anysched.schedules import Cron, Every, Once

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Home(Registry):
    """The part of a scheduler that jobs see."""

    def __init__(self) -> None:
        self.codec: Codec = JsonCodec()
        self.enqueued: list[BoundJob[Any]] = []
        self.refused: list[tuple[AnySchedError, str]] = []
        super().__init__()

    def tell_refused(self, error: AnySchedError, job: str) -> None:
        self.refused.append((error, job))

    async def enqueue_bound(self, bounds: Sequence[BoundJob[Any]]) -> list[Run[Any]]:
        self.enqueued += bounds
        return [Run(f"run-{len(self.enqueued)}", bound.job.name, None, bound.job.types) for bound in bounds]


async def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


def compress(data: bytes) -> int:
    return len(data)


# --- making jobs -------------------------------------------------------------------------------------------------


def test_a_job_has_the_defaults_of_the_contract() -> None:
    """An async function runs in the loop, a plain one in a thread."""
    home = Home()
    job = home.job(greet)

    assert ("greet", "default", 0, None, RetryPolicy(), None, None, None, "loop") == (
        *(job.name, job.queue, job.priority, job.timeout, job.retry, job.expires, job.result_ttl),
        *(job.max_concurrent, job.runs_in),
    )
    assert "thread" == home.job(compress).runs_in


def test_a_job_has_the_options_that_were_given() -> None:
    """Lengths of time in any notation."""
    policy = RetryPolicy(max_retries=0)
    job = Home().job(
        name="mail.send",
        queue="mail",
        priority=-100,
        timeout="30s",
        retry=policy,
        expires=600,
        result_ttl=timedelta(hours=1),
        max_concurrent=3,
        runs_in="process",
    )(compress)

    assert ("mail.send", "mail", -100, timedelta(seconds=30), policy) == (
        *(job.name, job.queue, job.priority, job.timeout, job.retry),
    )
    assert (timedelta(minutes=10), timedelta(hours=1), 3, "process") == (
        *(job.expires, job.result_ttl, job.max_concurrent, job.runs_in),
    )


async def test_a_job_can_be_called_like_its_function() -> None:
    """Here and now, and it looks like it too."""
    home = Home()

    assert "ADA" == await home.job(greet)("Ada", loud=True)
    assert 3 == home.job(compress)(b"abc")
    assert inspect.signature(greet) == inspect.signature(home.job(greet))
    assert ("greet", __name__) == (home.job(greet).__name__, home.job(greet).__module__)  # type: ignore[attr-defined] - set at run time


class Greeter:
    async def __call__(self, name: str) -> str:
        return name

    async def greet(self, name: str) -> str:
        return name


def generator() -> Any:
    yield


async def async_generator() -> Any:
    yield


@pytest.mark.parametrize(
    ("function", "place"),
    [
        (Greeter(), "loop"),
        (Greeter().greet, "loop"),
        (partial(greet, "x"), "loop"),
        (partial(Greeter(), "x"), "loop"),
        (staticmethod(greet), "loop"),
        (partial(staticmethod(greet), "x"), "loop"),
        (staticmethod(compress), "thread"),
        (len, "thread"),
    ],
)
def test_other_callables_can_be_jobs(function: Any, place: str) -> None:
    """As async as what they call, once they have a name."""
    assert place == Home().job(name="some")(function).runs_in


@pytest.mark.parametrize(
    ("function", "options", "complaint"),
    [
        (greet, {"qeue": "x"}, "invalid option 'qeue': expected one of name, queue, priority, timeout, retry"),
        (greet, {"name": ""}, "invalid name '': expected 1 to 200 printable characters without spaces and braces"),
        (greet, {"name": "a b"}, "invalid name 'a b'"),
        (greet, {"name": "a{b}"}, "invalid name 'a{b}'"),
        (greet, {"name": "a\nb"}, "invalid name"),
        (greet, {"name": "a\x00"}, "invalid name"),
        (greet, {"name": "a\u00a0b"}, "invalid name"),
        (greet, {"name": "x" * 201}, "invalid name"),
        (greet, {"name": 5}, "invalid name 5"),
        (greet, {"queue": "my queue"}, "invalid queue 'my queue'"),
        (greet, {"priority": 101}, "invalid priority 101: expected a whole number from -100 to 100"),
        (greet, {"priority": -101}, "invalid priority -101"),
        (greet, {"priority": True}, "invalid priority True"),
        (greet, {"priority": 1.0}, "invalid priority 1.0"),
        (greet, {"retry": 3}, "invalid retry 3: expected a RetryPolicy"),
        (greet, {"retry": None}, "invalid retry None"),
        (greet, {"max_concurrent": 0}, "invalid max_concurrent 0: expected a whole number from 1, or None"),
        (greet, {"runs_in": "thread"}, "invalid runs_in 'thread': expected 'loop', for an async function"),
        (compress, {"runs_in": "loop"}, "invalid runs_in 'loop': expected 'thread' or 'process', for a plain function"),
        (compress, {"runs_in": "gpu"}, "invalid runs_in 'gpu'"),
        (lambda: 1, {}, "invalid name None: expected a name for a job whose function has none of its own"),
        (Greeter(), {}, "invalid name None"),
        (lambda: 1, {"name": "x", "runs_in": "process"}, "finds a function only by its name in a module"),
        (Greeter().greet, {"name": "x", "runs_in": "process"}, "for an async function"),
        (generator, {}, "expected a function, async or plain, that is no generator"),
        (async_generator, {}, "that is no generator"),
        (Greeter, {}, "expected a function"),
        (5, {}, "invalid job 5"),
    ],
)
def test_a_job_that_cannot_be_is_refused(function: Any, options: dict[str, Any], complaint: str) -> None:
    """When it is written, with the value and what is allowed."""
    with pytest.raises(InvalidOption) as caught:
        Home().job(**options)(function)

    assert complaint in str(caught.value)


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": "-1s"}, {"expires": "soon"}, {"result_ttl": -1}])
def test_a_length_of_time_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    """A time limit of nothing too."""
    with pytest.raises(InvalidDuration):
        Home().job(**options)(greet)


def test_the_default_name_says_where_a_function_is_defined() -> None:
    """Without the word for local functions."""

    class Mailer:
        @staticmethod
        async def send() -> None: ...

    name = Home().job(Mailer.send).name

    assert "test_the_default_name_says_where_a_function_is_defined.Mailer.send" == name


# --- enqueueing --------------------------------------------------------------------------------------------------


async def test_enqueue_goes_through_the_scheduler() -> None:
    """With encoded arguments and the job's settings."""
    home = Home()
    run = await home.job(queue="mail", priority=3, expires="10m")(greet).enqueue("Ada", loud=True)
    (bound,) = home.enqueued

    assert ("run-1", "greet") == (run.id, run.job)
    assert '{"name":"Ada","loud":true}' == bound.payload
    assert RunSettings(queue="mail", priority=3, expires_ms=600_000) == bound.settings
    assert 26 == bound.size


def test_a_size_is_counted_in_bytes() -> None:
    """Not in characters."""
    assert len('{"name":"ä"}'.encode()) == Home().job(greet).bind("ä").size


async def test_a_job_of_a_blueprint_alone_cannot_be_enqueued() -> None:
    """It has no scheduler yet."""
    with pytest.raises(JobNotIncluded, match=r"call scheduler.include\(blueprint\) first"):
        await Blueprint().job(greet).enqueue("Ada")


async def test_wrong_arguments_are_refused_in_the_caller() -> None:
    """And nothing reaches the scheduler."""
    home = Home()
    job = home.job(greet)

    for error, args in ((InvalidArguments, ()), (InvalidArguments, (5,)), (CannotEncode, ("\ud800",))):
        for call in (job, job.options(delay=1)):
            with pytest.raises(error):
                await call.enqueue(*args)

            with pytest.raises(error):
                call.bind(*args)

    assert [] == home.enqueued


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"delay": "5s"}, {"delay_ms": 5000}),
        ({"delay": timedelta(microseconds=1)}, {"delay_ms": 1}),
        ({"delay": 0}, {}),
        ({"at": NOON}, {"at_ms": to_ms(NOON)}),
        ({"at": datetime(1960, 1, 1, tzinfo=UTC)}, {"at_ms": 1}),
        ({"queue": "slow", "priority": 9}, {"queue": "slow", "priority": 9}),
        ({"expires": "1s"}, {"expires_ms": 1000}),
        ({"expires": NOON}, {"expires_at_ms": to_ms(NOON), "expires_ms": 0}),
        ({"expires": None}, {"expires_ms": 0}),
        ({"deadline": "1m"}, {"deadline_after_ms": 60_000}),
        ({"deadline": NOON}, {"deadline_ms": to_ms(NOON)}),
        ({"key": "welcome:42"}, {"key": "welcome:42"}),
        ({"key": None}, {}),
        ({"run_id": "mine"}, {"run_id": "mine"}),
        ({"timeout": None}, {"options": '{"timeout_ms":-1}'}),
        ({"timeout": "5s"}, {"options": '{"timeout_ms":5000}'}),
        ({"result_ttl": "1h"}, {"options": '{"result_ttl_ms":3600000}'}),
        ({"metadata": {"a": [1, None]}}, {"options": '{"metadata":{"a":[1,null]}}'}),
        ({"metadata": {}}, {}),
        ({"retry": RetryPolicy(max_retries=1)}, {"options": '{"retry":{"max_retries":1}}'}),
        ({"retry": RetryPolicy()}, {"options": '{"retry":{}}'}),
    ],
    ids=str,
)
def test_options_become_settings(options: dict[str, Any], expected: dict[str, Any]) -> None:
    """In the units of storage, rounded up: nothing is early."""
    job = Home().job(queue="mail", priority=1, expires="10m")(greet)

    assert RunSettings(**{"queue": "mail", "priority": 1, "expires_ms": 600_000} | expected) == (
        job.options(**options).bind("Ada").settings
    )


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"dleay": 1}, InvalidOption, "invalid option 'dleay': expected one of delay, at, queue, priority"),
        ({"delay": -1}, InvalidDuration, "invalid delay -1: expected a length of time that is not negative"),
        ({"delay": "soon"}, InvalidDuration, "invalid delay 'soon'"),
        ({"delay": None}, InvalidDuration, "invalid delay None"),
        ({"delay": 1, "at": NOON}, InvalidOption, "expected either at or delay, not both"),
        ({"at": datetime(2026, 1, 1)}, NaiveDatetime, "at must be an aware datetime"),
        ({"at": "2026-01-01"}, InvalidOption, "invalid at '2026-01-01': expected an aware datetime"),
        ({"expires": datetime(2026, 1, 1)}, NaiveDatetime, "expires must be"),
        ({"deadline": datetime(2026, 1, 1)}, NaiveDatetime, "deadline must be"),
        ({"expires": 0}, InvalidDuration, "invalid expires 0: expected at least 1ms"),
        ({"timeout": 0}, InvalidDuration, "invalid timeout 0"),
        ({"queue": ""}, InvalidOption, "invalid queue ''"),
        ({"priority": 1000}, InvalidOption, "invalid priority 1000"),
        ({"key": "a b"}, InvalidOption, "invalid key 'a b'"),
        ({"key": 5}, InvalidOption, "invalid key 5"),
        ({"run_id": ""}, InvalidOption, "invalid run_id ''"),
        ({"retry": "3"}, InvalidOption, "invalid retry '3'"),
        ({"retry": RetryPolicy(strategy=lambda n: n)}, InvalidOption, "a function cannot be stored with a run"),
        ({"metadata": 5}, InvalidOption, "invalid metadata 5: expected a mapping from text to values that JSON has"),
        ({"metadata": {1: 2}}, InvalidOption, "the key 1 of metadata is an int"),
        ({"metadata": {"a": {1}}}, InvalidOption, "metadata['a'] is a set and would come back as a list"),
        ({"metadata": {"a": object()}}, InvalidOption, "invalid metadata"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], complaint: str) -> None:
    """When it is written, before anything else happens."""
    with pytest.raises(error) as caught:
        Home().job(greet).options(**options)

    assert complaint in str(caught.value)


def test_a_key_can_be_made_from_the_arguments() -> None:
    """The same for calls that mean the same, and found again from the call alone."""
    job = Home().job(greet)
    keyed = job.options(key=by_arguments)

    assert keyed.bind("Ada").key == keyed.bind(name="Ada", loud=False).key == job.bind("Ada").key_by_arguments
    assert keyed.bind("Ada").key != keyed.bind("Bob").key
    assert keyed.bind("Ada").key.startswith("greet:")
    assert "" == job.bind("Ada").key
    assert "k" == job.options(key="k").bind("Ada").key


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ({"delay": "5s"}, {"priority": 3}, {"delay": "5s", "priority": 3}),
        ({"delay": "5s"}, {"at": NOON}, {"at": NOON}),
        ({"at": NOON}, {"delay": "5s"}, {"delay": "5s"}),
        ({"expires": NOON}, {"expires": "5s"}, {"expires": "5s"}),
        ({"deadline": "5s"}, {"deadline": NOON}, {"deadline": NOON}),
        ({"deadline": "5s", "key": "k"}, {"deadline": None, "key": None}, {}),
        ({"key": "k"}, {"key": by_arguments}, {"key": by_arguments}),
        ({"key": by_arguments}, {"key": "k"}, {"key": "k"}),
        ({"queue": "a", "run_id": "r"}, {"queue": "b"}, {"queue": "b", "run_id": "r"}),
        ({"timeout": "5s"}, {"result_ttl": "1h"}, {"timeout": "5s", "result_ttl": "1h"}),
        ({"timeout": "5s", "result_ttl": "1h"}, {"timeout": None, "result_ttl": None}, {"timeout": None}),
        ({"metadata": {"a": 1}}, {"timeout": "5s"}, {"timeout": "5s", "metadata": {"a": 1}}),
        ({"metadata": {"a": 1}}, {"metadata": {"b": 2}}, {"metadata": {"b": 2}}),
        (
            {"retry": RetryPolicy(max_retries=1, give_up_on=(OSError,))},
            {"metadata": {}},
            {"retry": RetryPolicy(max_retries=1, give_up_on=(OSError,))},
        ),
    ],
)
def test_options_are_added_to_options_and_the_later_ones_win(
    first: dict[str, Any], second: dict[str, Any], both: dict[str, Any]
) -> None:
    """The outcome is that of giving them at once; what is kept in between is left as it was."""
    job = Home().job(greet)
    kept = job.options(**first)
    found = kept.options(**second).bind("Ada").settings

    assert job.options(**both).bind("Ada").settings == found
    assert job.options(**first).bind("Ada").settings == kept.bind("Ada").settings

    with pytest.raises(InvalidOption, match="invalid option 'nonsense'"):
        kept.options(nonsense=1)


# --- stored options ----------------------------------------------------------------------------------------------


def test_stored_options_come_back() -> None:
    """All of them; none take no space."""
    options = RunOptions(
        timeout_ms=-1, retry=RetryPolicy(max_retries=1), result_ttl_ms=20_000, metadata={"a": [1, {"b": None}]}
    )

    assert options == decode_options(encode_options(options), "job")
    assert "" == encode_options(RunOptions())
    assert RunOptions() == decode_options("", "job")


@pytest.mark.parametrize(
    ("options", "limit", "kept_ms"),
    [
        (RunOptions(), 5.0, 60_000),
        (RunOptions(timeout_ms=-1, result_ttl_ms=0), None, 10_000),
        (RunOptions(timeout_ms=1500, result_ttl_ms=20_000), 1.5, 20_000),
    ],
)
def test_options_of_a_run_go_before_its_jobs(options: RunOptions, limit: float | None, kept_ms: int) -> None:
    """And no ended run is forgotten before its outcome may have been sent twice."""
    assert limit == options.limit(timedelta(seconds=5))
    assert kept_ms == options.kept_for(timedelta(minutes=1), timedelta(hours=1))
    assert RunOptions().limit(None) is None
    assert 3_600_000 == RunOptions().kept_for(None, timedelta(hours=1))


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"timeout_ms":"x"}', '{"retry":{"max_retries":-1}}', '{"retry":{"strategy":5}}', "[" * 100_000]
)
def test_stored_options_that_cannot_be_are_told_apart(text: str) -> None:
    """Also a policy that only turns out to be wrong when it is made."""
    with pytest.raises(CannotDecode, match="the stored options of job 'mail'"):
        decode_options(text, "mail")


# --- registries --------------------------------------------------------------------------------------------------


def test_one_function_is_one_job() -> None:
    """Registered again in the same way it is the same job; in another, or another function, it is refused."""
    home = Home()
    job = home.job(greet)

    assert job is home.job(greet)

    with pytest.raises(DuplicateJob, match="a job named 'greet' is registered already"):
        home.job(queue="other")(greet)

    with pytest.raises(DuplicateJob):
        home.job(name="greet")(compress)


def test_a_blueprint_names_its_jobs_after_itself() -> None:
    """Unless they are given their name in full."""
    mail = Blueprint("mail")

    assert "mail.greet" == mail.job(greet).name
    assert "other" == mail.job(name="other")(compress).name
    assert "greet" == Blueprint().job(greet).name


async def test_an_included_blueprint_shares_what_it_collects() -> None:
    """Also through other blueprints, also what comes later, and twice is once."""
    home, outer, inner = Home(), Blueprint("outer"), Blueprint("inner")
    first = inner.job(greet)
    outer.include(inner)
    home.include(outer)
    home.include(outer)
    home.include(inner)
    second = inner.every("5s", args=[b""])(compress)

    assert {"inner.greet": first, "inner.compress": second} == home.jobs == outer.jobs
    assert ["inner.compress"] == [declared.id for declared in home.declarations()]
    assert "run-1" == (await first.enqueue("Ada")).id


async def test_the_last_scheduler_that_includes_a_job_has_it() -> None:
    """So that a test can make a scheduler of its own for jobs of a module."""
    jobs, first, second = Blueprint(), Home(), Home()
    job = jobs.job(greet)
    first.include(jobs)
    second.include(jobs)
    await job.enqueue("Ada")

    assert ([], 1) == (first.enqueued, len(second.enqueued))


@pytest.mark.parametrize("what", [5, "mail", Blueprint, print])
def test_what_is_no_blueprint_is_not_included(what: Any) -> None:
    """And it is shown."""
    with pytest.raises(InvalidOption, match=r"invalid blueprint .*: expected a Blueprint"):
        Blueprint("mail").include(what)


def test_a_blueprint_that_clashes_is_not_taken_over() -> None:
    """Not even in part."""
    home, jobs = Home(), Blueprint()
    home.job(name="b")(compress)
    jobs.job(name="a")(greet)
    jobs.job(name="b")(greet)

    with pytest.raises(DuplicateJob):
        home.include(jobs)

    jobs.job(name="c")(greet)
    assert {"b"} == set(home.jobs)


def test_blueprints_do_not_include_each_other() -> None:
    """Nor themselves."""
    first, second = Blueprint("first"), Blueprint("second")
    first.include(second)

    for outer, inner in ((second, first), (first, first)):
        with pytest.raises(InvalidOption, match="expected one that this one is not part of"):
            outer.include(inner)


# --- declared entries --------------------------------------------------------------------------------------------


def test_functions_and_jobs_can_be_put_on_schedules() -> None:
    """The decorators stack, and the job passes through."""
    home = Home()
    job = home.cron("0 8 * * *", id="morning", args=["Ada"], kwargs={"loud": True}, overlap="allow")(
        home.every("90s", args=["Bob"])(home.job(queue="mail")(greet))
    )
    home.once(NOON, id="once", args=["Eve"])(job)
    specs = {declared.id: declared.spec for declared in home.declarations()}

    assert isinstance(job, Job)
    assert ["greet", "morning", "once"] == sorted(specs)
    assert (Every("90s"), Cron("0 8 * * *"), Once(NOON)) == tuple(
        specs[entry].schedule for entry in ("greet", "morning", "once")
    )
    assert ("mail", '{"name":"Ada","loud":true}', "allow") == (
        *(specs["morning"].queue, specs["morning"].payload, specs["morning"].policy.overlap),
    )


def test_a_declared_function_takes_the_options_of_a_job() -> None:
    """Beside those of the entry."""
    job = Home().every("5s", queue="mail", timeout="5s", name="tidy", jitter="1s", args=[b""])(compress)

    assert ("tidy", "mail", timedelta(seconds=5)) == (job.name, job.queue, job.timeout)


def test_declared_expressions_take_the_schedulers_zone() -> None:
    """Unless they name one."""
    from anysched.config import SchedulerConfig

    home = Home()
    home.config = SchedulerConfig(timezone="Asia/Tokyo")
    job = home.job(compress)
    home.cron("0 8 * * *", id="a", args=[b""])(job)
    home.cron("0 8 * * *", id="b", tz="UTC", args=[b""])(job)
    home.cron(Cron("0 8 * * *", tz="Europe/Berlin"), id="c", args=[b""])(job)

    assert ["Asia/Tokyo", "UTC", "Europe/Berlin"] == [
        str(declared.spec.schedule.tz)  # type: ignore[attr-defined] - a Cron
        for declared in home.declarations()
    ]


@pytest.mark.parametrize(
    ("declare", "error", "complaint"),
    [
        (lambda home: home.cron("x"), InvalidSchedule, "invalid expression 'x'"),
        (lambda home: home.cron("* * * * *", tz="Mars"), InvalidSchedule, "invalid tz 'Mars'"),
        (
            lambda home: home.cron("* * * * *", overlap="no"),
            InvalidOption,
            "invalid overlap 'no': expected one of skip",
        ),
        (lambda home: home.cron("* * * * *", misfire="no"), InvalidOption, "invalid misfire 'no'"),
        (lambda home: home.cron("* * * * *", jiter=1), InvalidOption, "invalid option 'jiter': expected one of"),
        (lambda home: home.cron("* * * * *", anchor=NOON), InvalidOption, "invalid option 'anchor'"),
        (lambda home: home.cron(Cron("* * * * *"), tz="UTC"), InvalidOption, "invalid tz 'UTC': expected None beside"),
        (lambda home: home.every(Every(1), anchor=NOON), InvalidOption, "invalid anchor"),
        (lambda home: home.every("0s"), InvalidDuration, "invalid period '0s'"),
        (lambda home: home.every("1s", tz="UTC"), InvalidOption, "invalid option 'tz'"),
        (lambda home: home.once(datetime(2026, 1, 1)), NaiveDatetime, "at must be"),
        (lambda home: home.every("1s", limit=0), InvalidOption, "invalid limit 0"),
        (lambda home: home.every("1s", jitter=-1), InvalidDuration, "invalid jitter -1"),
        (lambda home: home.every("1s", end_at=datetime(2026, 1, 1)), NaiveDatetime, "end_at"),
        (lambda home: home.every("1s", args="abc"), InvalidOption, "invalid args 'abc': expected a list or tuple"),
        (lambda home: home.every("1s", kwargs=[1]), InvalidOption, "invalid kwargs [1]"),
        (lambda home: home.every("1s")(greet), InvalidArguments, "missing a required argument: 'name'"),
        (lambda home: home.every("1s", args=[1, 2])(greet), InvalidArguments, "too many positional arguments"),
        (lambda home: home.every("1s", id="a b", args=["x"])(greet), InvalidOption, "invalid id 'a b'"),
        (lambda home: home.every("1s", queue="x", args=["x"])(home.job(greet)), InvalidOption, "on a job that is made"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(declare: Any, error: type[AnySchedError], complaint: str) -> None:
    """When it is written, with the value and what is allowed."""
    with pytest.raises(error) as caught:
        declare(Home())

    assert complaint in str(caught.value)


def test_a_second_declaration_on_one_job_needs_an_id() -> None:
    """The first one has the job's name."""
    home = Home()
    job = home.every("1s", args=["x"])(greet)

    with pytest.raises(InvalidOption, match="invalid id 'greet': expected another id="):
        home.every("2s", args=["x"])(job)


def test_arguments_of_a_declaration_are_held_against_annotations_when_it_is_used() -> None:
    """Not before: an annotation may name what is defined further down."""
    home = Home()
    home.every("1s", args=[5])(greet)

    with pytest.raises(InvalidArguments, match="Expected `str`, got `int`"):
        home.declarations()
