"""``anysched queues``: where runs wait."""

from __future__ import annotations

from argparse import Namespace

from anysched.cli.failures import reading_words
from anysched.cli.opening import with_open
from anysched.cli.records import queue_record
from anysched.cli.showing import show_json, show_table
from anysched.identifiers import check_name
from anysched.scheduler import Scheduler

__all__ = ["list_queues", "pause_queue", "resume_queue"]


def list_queues(arguments: Namespace) -> int:
    """Carry out ``anysched queues ls``."""

    async def show(scheduler: Scheduler) -> None:
        queues = await scheduler.queues()

        if arguments.json:
            show_json([queue_record(queue) for queue in queues])
        else:
            rows = [(queue.name, queue.ready, "paused" if queue.paused else "open") for queue in queues]
            show_table(("queue", "ready", "state"), rows, empty="no queues")

    return with_open(arguments, show)


def pause_queue(arguments: Namespace) -> int:
    """Carry out ``anysched queues pause``."""
    queue = _queue_of(arguments)
    return with_open(arguments, lambda scheduler: scheduler.pause_queue(queue))


def resume_queue(arguments: Namespace) -> int:
    """Carry out ``anysched queues resume``."""
    queue = _queue_of(arguments)
    return with_open(arguments, lambda scheduler: scheduler.resume_queue(queue))


def _queue_of(arguments: Namespace) -> str:
    with reading_words():
        return check_name("queue", arguments.queue)
