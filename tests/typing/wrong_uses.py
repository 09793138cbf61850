"""Uses that a type checker must refuse: one error on each line marked `# wrong`, and none on any other line.

Never run; read by the test beside it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from anysched import Cron, EntryPolicy, Every, RetryPolicy, Run, Scheduler, SchedulerConfig

scheduler = Scheduler()


@scheduler.job
async def add(left: int, right: int = 0) -> int:
    return left + right


@scheduler.job(timeout="30s", retry=RetryPolicy(max_retries=3))
async def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


@scheduler.job(queue="slow")
def compress(data: str) -> bytes:
    return data.encode()


async def right_uses() -> None:
    assert_type(await add.enqueue(1, 2), Run[int])
    assert_type(await (await greet.enqueue("Ada", loud=True)).result(), str)
    assert_type(await compress.options(delay="5s", priority=9).enqueue("x"), Run[bytes])
    assert_type(await add(1), int)
    await (await add.enqueue(1)).reschedule(at=datetime.now(UTC))
    await (await add.enqueue(1)).reschedule(delay="5s")
    await scheduler.add(Every("5s"), greet.bind("Ada"), id="hello")
    await scheduler.add(Cron("@daily"), add.bind(1, right=2), overlap="queue_one")
    SchedulerConfig(timezone=UTC, tick_interval=1, lease="5s", failed_ttl=timedelta(days=7), queues={"mail": 2})
    RetryPolicy(initial="1s", multiplier=2, retry_on=OSError, give_up_on=[KeyError, "shop.errors.Gone"])
    RetryPolicy(retry_on="shop.errors.Gone", give_up_on=(KeyError, "shop.errors.Gone"))


async def wrong_arguments() -> None:
    await add.enqueue("1")  # wrong
    await add.enqueue()  # wrong
    await add.enqueue(1, 2, 3)  # wrong
    await greet.enqueue("Ada", True)  # wrong
    await greet.enqueue("Ada", quiet=True)  # wrong
    await greet.options(delay="5s").enqueue(5)  # wrong
    await scheduler.add("@hourly", greet.bind(5))  # wrong
    await scheduler.enqueue(add.bind(1), add.bind("2"))  # wrong


async def wrong_results() -> None:
    run = await add.enqueue(1)
    text: str = await run.result()  # wrong
    print(text)
    await run.reschedule()  # wrong
    await run.reschedule(at="tomorrow")  # wrong
    await run.reschedule(at=datetime.now(UTC), delay="5s")  # wrong


async def wrong_options() -> None:
    await add.options(priority="high").enqueue(1)  # wrong
    await add.options(prioritty=9).enqueue(1)  # wrong
    await scheduler.add(Every("5s"), add.bind(1), overlap="sometimes")  # wrong
    await scheduler.add(5, add.bind(1))  # wrong
    scheduler.every("5s", minutes=15)  # wrong
    scheduler.every(minutes="15")  # wrong
    scheduler.every(minute=15)  # wrong
    RetryPolicy(max_retries="3")  # wrong
    RetryPolicy(initial=None)  # wrong
    RetryPolicy(jitter="0.5")  # wrong
    RetryPolicy(retry_on=5)  # wrong
    RetryPolicy(give_up_on=[int])  # wrong
    EntryPolicy(jitter=[])  # wrong
    EntryPolicy(end_at="tomorrow")  # wrong
    SchedulerConfig(lease=None)  # wrong
    SchedulerConfig(queues=["mail"])  # wrong
    SchedulerConfig(queues={"mail": "1"})  # wrong
    scheduler.job(wrong_results, quueue="mail")  # wrong
    Scheduler(namespace=5)  # wrong
    await scheduler.find()  # wrong
    await scheduler.find(add.bind(1), key="x")  # wrong
    add.options(delay="5s").options(prioritty=9)  # wrong
