"""A crawler: queues with weights, priorities by depth, and a limit on what hits the site at once.

* Pages and pictures wait in queues of their own; of two busy queues the one with weight 3 gets three quarters.
* A page nearer to the root has the higher priority.
* At most four pages are being fetched at once, in the whole cluster, however many workers there are.
* A page that is being fetched, or waits for it, is not enqueued a second time: its arguments are its key.

The site is a make-believe one, so that this runs without a network.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from anysched import ErrorContext, Executor, RetryPolicy, Scheduler, SchedulerConfig, by_arguments, current_run


@define
class Site:
    """Forty pages in a tree with cross-links, each with a picture. It answers each page's first request with an error
    if its number is divisible by ten, and keeps count of how hard it is being hit.
    """

    flaky: set[str] = field(factory=lambda: {f"/{number}" for number in range(10, 41, 10)})
    busy: int = 0
    busiest: int = 0

    async def get(self, path: str) -> list[str]:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)

        try:
            await anyio.sleep(0.02)
        finally:
            self.busy -= 1

        if path in self.flaky:
            self.flaky.remove(path)
            raise ConnectionResetError(path)

        number = int(path.removeprefix("/"))
        links = (3 * number + 1, 3 * number + 2, 3 * number + 3, number // 2)
        return [f"/{link}" for link in links if link <= 40]


@define
class Crawl:
    """What the jobs of one crawl share, since they run in one process: see ``open_crawl``."""

    site: Site = field(factory=Site)
    seen: set[str] = field(factory=set[str])
    open: int = 0
    pictures: int = 0
    finished: anyio.Event = field(factory=anyio.Event)

    async def follow(self, path: str, depth: int) -> None:
        """Enqueue a page that was not seen before, and its picture."""
        if path in self.seen:
            return

        self.seen.add(path)
        self.open += 2
        await scheduler.enqueue(
            page.options(key=by_arguments, priority=-depth).bind(path, depth=depth),
            picture.bind(f"{path}.png"),
        )

    def close_one(self) -> None:
        self.open -= 1

        if self.open == 0:
            self.finished.set()


crawl: Crawl


@asynccontextmanager
async def open_crawl() -> AsyncGenerator[Crawl]:
    global crawl  # noqa: PLW0603 - for `main`, which is no job and so has no current_run().state
    crawl = Crawl()
    yield crawl


def on_error(error: Exception, context: ErrorContext) -> None:
    print(f"{context.job}, attempt {context.attempt}: {error!r}")


scheduler = Scheduler(
    executor=Executor(max_concurrent=10),
    config=SchedulerConfig(queues={"pages": 3, "pictures": 1}, on_error=on_error),
    lifespan=open_crawl,
)


@scheduler.job(queue="pages", timeout="5s", max_concurrent=4, retry=RetryPolicy(max_retries=2, initial="50ms"))
async def page(path: str, *, depth: int) -> int:
    state: Crawl = current_run().state
    links = await state.site.get(path)

    for link in links:
        await state.follow(link, depth + 1)

    state.close_one()
    return len(links)


@scheduler.job(queue="pictures", timeout="5s")
async def picture(path: str) -> None:
    state: Crawl = current_run().state
    await anyio.sleep(0.01)
    state.pictures += 1
    state.close_one()


async def main() -> None:
    async with scheduler.running():
        await crawl.follow("/0", 0)

        with anyio.fail_after(30):
            await crawl.finished.wait()

    print(f"{len(crawl.seen)} pages, {crawl.pictures} pictures, at most {crawl.site.busiest} pages at once")


if __name__ == "__main__":
    anyio.run(main)
