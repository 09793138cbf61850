# pyright: strict
"""Uses in which a strict type checker finds nothing that is unknown.

Never run; read by the test beside it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, assert_type

from anysched import AsyncJob, JobWithOptions, PlainJob, Run, Scheduler

scheduler = Scheduler()


@scheduler.job
async def greet(name: str) -> str:
    return name


@scheduler.job
def compress(data: str) -> bytes:
    return data.encode()


async def runs_that_are_found() -> None:
    named = await scheduler.find(key="x")
    assert_type(named, Run[Any] | None)
    assert_type(await scheduler.find(greet.bind("x")), Run[str] | None)

    if named is not None:
        print(await named.result())


async def what_jobs_are() -> None:
    asynchronous: AsyncJob[[str], str] = greet
    plain: PlainJob[[str], bytes] = compress
    later: JobWithOptions[[str], str] = greet.options(delay="5s").options(priority=9)
    print(asynchronous, plain, await later.enqueue("Ada"))


async def what_cannot_be_decorated() -> None:
    shout = scheduler.job(str.upper, name="shout", runs_in="process")
    assert_type(await shout.enqueue("x"), Run[str])
    greet_ada = scheduler.job(partial(greet.function, "Ada"), name="greet_ada", queue="slow")
    assert_type(await greet_ada.enqueue(), Run[Any])


@scheduler.every("15m", jitter="1s")
@scheduler.every(minutes=15, seconds=0.5, id="in parts", overlap="allow")
async def tidy() -> None: ...


async def what_is_told() -> None:
    print([(node.id, node.running) for node in await scheduler.nodes()])
    print([(queue.name, queue.ready) for queue in await scheduler.queues()])
    print((await scheduler.totals()).ready, scheduler.statistics().executor)
