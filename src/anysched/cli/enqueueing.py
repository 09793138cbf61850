"""``anysched enqueue``: work from a command line."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime, timedelta
from typing import Any

from anysched.cli.carrying import run_async
from anysched.cli.failures import UsageError, reading_words
from anysched.cli.loading import shared_scheduler_of
from anysched.cli.showing import show_json_text
from anysched.durations import duration_of_words, parse_duration
from anysched.errors import InvalidDuration, UnknownJob
from anysched.job import BoundJob
from anysched.options import EnqueueOptions
from anysched.scheduler import Scheduler

__all__ = ["bound_from_words", "enqueue", "instant_from_text", "length_from_text"]


def enqueue(arguments: Namespace) -> int:
    """Carry out ``anysched enqueue``."""
    arguments.backend = arguments.namespace = None
    scheduler = shared_scheduler_of(arguments)
    bound = bound_from_words(scheduler, arguments)
    return run_async(_enqueue, scheduler, bound, arguments.wait, loop=arguments.loop)


def bound_from_words(scheduler: Scheduler, arguments: Namespace) -> BoundJob[Any]:
    """The call that a command line means, checked against the job's signature.

    Raises:
        UsageError: there is no such job, an argument is not JSON or does not fit, or an option cannot be.
    """
    with reading_words():
        job = scheduler.jobs.get(arguments.job)

        if job is None:
            raise UnknownJob(arguments.job, list(scheduler.jobs))

        args, kwargs = job.types.arguments_from_json(arguments.values, _named(arguments.kw))
        return job.options(**_options(arguments)).bind(*args, **kwargs)


def instant_from_text(text: str) -> datetime:
    """An aware datetime from ISO 8601.

    Raises:
        UsageError: it is something else, or names no offset.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not an instant: expected ISO 8601 with a time, such as 2030-01-01T08:00:00+01:00"
        raise UsageError(message) from None

    if instant.utcoffset() is None:
        # An offset can follow a time only, which a date alone does not have yet.
        whole = instant.isoformat()
        message = f"{text!r} names no offset: write {whole}Z for UTC, or such as {whole}+01:00"
        raise UsageError(message)

    return instant


def length_from_text(name: str, text: str, *, least: timedelta = timedelta(0)) -> timedelta:
    """A length of time; a bare number counts seconds.

    Args:
        name: the option's name, without the dashes.
        text: what was given to it.
        least: the shortest that is allowed.

    Raises:
        UsageError: it is something else.
    """
    try:
        return parse_duration(duration_of_words(text), name=name, minimum=least)
    except InvalidDuration as error:
        message = f"invalid {name} {text!r}: expected {error.allowed}"
        raise UsageError(message) from None


async def _enqueue(scheduler: Scheduler, bound: BoundJob[Any], wait: bool) -> int:
    async with scheduler:
        (run,) = await scheduler.enqueue(bound)

        if not wait:
            print(run.id)
            return 0

        # The id is for people here, so that standard output is nothing but the result.
        print(f"anysched: enqueued {run.id}, waiting for it", file=sys.stderr)
        await run.result()
        info = await run.info()
        show_json_text(info.result or "null")

    return 0


def _named(words: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}

    for word in words:
        name, equals, value = word.partition("=")

        if not equals or not name.isidentifier() or name in named:
            message = f"--kw {word!r}: expected NAME=JSON, each name once"
            raise UsageError(message)

        named[name] = value

    return named


def _options(arguments: Namespace) -> EnqueueOptions:
    options = EnqueueOptions()

    if arguments.delay is not None:
        options["delay"] = length_from_text("delay", arguments.delay)

    if arguments.at is not None:
        options["at"] = instant_from_text(arguments.at)

    if arguments.queue is not None:
        options["queue"] = arguments.queue

    if arguments.priority is not None:
        options["priority"] = arguments.priority

    if arguments.key is not None:
        options["key"] = arguments.key

    return options
