"""What a contestant and the harness say to each other. Standard library only: it runs in every library's environment.

A contestant is a script. The harness starts it with one argument, a JSON object of options, and then they exchange
lines of JSON: requests on the script's stdin, answers on its stdout. A *worker* says it is ready, is told to go, and
works until it is killed. A *client* enqueues as it is told and answers with what it measured.

Every execution of a job is recorded by `mark(i)` in a memory-mapped file that the worker shares with the harness: a
count and the instant of the first start for each index. That costs well under a microsecond, the same in every
library, needs no trip to Redis, and survives `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.metadata
import json
import logging
import mmap
import os
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

LOG = logging.getLogger("bench")
HELD_FOR = 3600.0  # seconds a job lasts that is meant to be killed

mark: Callable[[int], bool] = bool  # replaced at the start; of the module, so that jobs found by import have it too


def marks_size(count: int) -> int:
    return -(-count // 8) * 8 + 8 * count


def open_marks(path: str, count: int) -> tuple[memoryview, memoryview]:
    """The counts (a byte each) and the instants of first starts (a double each, seconds since 1970)."""
    with Path(path).open("r+b") as file:
        memory = memoryview(mmap.mmap(file.fileno(), marks_size(count)))

    return memory[:count], memory[-8 * count :].cast("d")


def make_mark(path: str, count: int, held_from: int) -> Callable[[int], bool]:
    """Records one execution; true if the job shall then last until it is killed."""
    counts, instants = open_marks(path, count)
    now = time.time

    def record(i: int) -> bool:
        if not counts[i]:
            instants[i] = now()

        counts[i] += 1
        return i >= held_from

    return record


class Peer:
    """One process of one library, worker or client."""

    packages: tuple[str, ...] = ()  # whose versions are reported

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.url: str = options["url"]
        self.loop: str = options["loop"]
        self.concurrency: int = options["concurrency"]

    def versions(self) -> dict[str, str]:
        return {name: version_of(name) for name in self.packages}


class SyncPeer(Peer):
    """A library of threads or processes. A subclass has `enqueue`, `enqueue_at`, `work`, and perhaps `enqueue_many`."""

    def open(self) -> None:
        """Connect."""

    def enqueue(self, i: int) -> None:
        raise NotImplementedError  # by the subclass, if its library can

    def enqueue_many(self, indices: Iterable[int]) -> None:
        for i in indices:
            self.enqueue(i)

    def enqueue_at(self, i: int, due: float) -> None:
        raise NotImplementedError  # by the subclass, if its library can

    def work(self) -> None:
        raise NotImplementedError  # by the subclass, if its library can

    def hold(self) -> None:
        time.sleep(HELD_FOR)

    def do_one(self, first: int, count: int) -> Any:
        with timed() as answer:
            for i in range(first, first + count):
                self.enqueue(i)

        return answer

    def do_concurrent(self, first: int, count: int, tasks: int) -> Any:
        with timed() as answer, ThreadPoolExecutor(tasks) as pool:
            for _ in pool.map(self.enqueue, range(first, first + count)):
                pass

        return answer

    def do_bulk(self, first: int, count: int) -> Any:
        with timed() as answer:
            self.enqueue_many(range(first, first + count))

        return answer

    def do_paced(self, first: int, count: int, every: float) -> list[float]:
        sent: list[float] = []

        for k, pause in enumerate(pauses(count, every)):
            time.sleep(pause)
            sent.append(time.time())
            self.enqueue(first + k)

        return sent

    def do_delayed(self, first: int, dues: list[float]) -> Any:
        with timed() as answer:
            for k, due in enumerate(dues):
                self.enqueue_at(first + k, due)

        return answer

    def do_stock(self, index: int, count: int, due: float) -> Any:
        """Many runs of one index that are due some other day."""
        with timed() as answer:
            for _ in range(count):
                self.enqueue_at(index, due)

        return answer

    def start_working(self) -> None:
        self.work()

    def serve(self) -> None:
        self.open()

        for line in iter(sys.stdin.readline, ""):
            say(answer_to(line, lambda request: getattr(self, "do_" + request.pop("do"))(**request)))


class AsyncPeer(Peer):
    """A library of coroutines, on asyncio, uvloop or Trio. A subclass has what a `SyncPeer` has, with `await`."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connect, and disconnect."""
        yield

    async def enqueue(self, i: int) -> None:
        raise NotImplementedError  # by the subclass, if its library can

    async def enqueue_many(self, indices: Iterable[int]) -> None:
        """In the library's own bulk call. Without one, from 100 tasks."""
        await self.share_out(self.enqueue, indices, 100)

    async def enqueue_at(self, i: int, due: float) -> None:
        raise NotImplementedError  # by the subclass, if its library can

    async def enqueue_many_at(self, index: int, count: int, due: float) -> None:
        """The same index `count` times."""

        async def one(i: int) -> None:
            await self.enqueue_at(i, due)

        await self.share_out(one, (index for _ in range(count)), 100)

    async def work(self) -> None:
        raise NotImplementedError  # by the subclass, if its library can

    # --- on whichever loop -----------------------------------------------------------------------------------

    async def hold(self) -> None:
        await self.sleep(HELD_FOR)

    async def sleep(self, seconds: float) -> None:
        if self.loop == "trio":
            import trio

            await trio.sleep(seconds)
        else:
            await asyncio.sleep(seconds)

    @contextlib.asynccontextmanager
    async def tasks(self) -> AsyncIterator[Callable[..., Any]]:
        """Gives `start(function, *args)`; ends when all have ended."""
        if self.loop == "trio":
            import trio

            async with trio.open_nursery() as nursery:
                yield nursery.start_soon
        else:
            async with asyncio.TaskGroup() as group:
                yield lambda function, *args: group.create_task(function(*args))

    async def share_out(self, function: Callable[[int], Awaitable[None]], indices: Iterable[int], tasks: int) -> None:
        todo = iter(indices)

        async def take() -> None:
            for i in todo:
                await function(i)

        async with self.tasks() as start:
            for _ in range(tasks):
                start(take)

    async def next_line(self) -> str:
        if self.loop == "trio":
            import trio

            return await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)

        return await asyncio.to_thread(sys.stdin.readline)

    # --- what the harness asks for -----------------------------------------------------------------------------

    async def do_one(self, first: int, count: int) -> Any:
        with timed() as answer:
            for i in range(first, first + count):
                await self.enqueue(i)

        return answer

    async def do_concurrent(self, first: int, count: int, tasks: int) -> Any:
        with timed() as answer:
            await self.share_out(self.enqueue, range(first, first + count), tasks)

        return answer

    async def do_bulk(self, first: int, count: int) -> Any:
        with timed() as answer:
            await self.enqueue_many(range(first, first + count))

        return answer

    async def do_paced(self, first: int, count: int, every: float) -> list[float]:
        sent = [0.0] * count

        async def send(k: int) -> None:
            sent[k] = time.time()
            await self.enqueue(first + k)

        async with self.tasks() as start:
            for k, pause in enumerate(pauses(count, every)):
                await self.sleep(pause)
                start(send, k)

        return sent

    async def do_delayed(self, first: int, dues: list[float]) -> Any:
        with timed() as answer:
            for k, due in enumerate(dues):
                await self.enqueue_at(first + k, due)

        return answer

    async def do_stock(self, index: int, count: int, due: float) -> Any:
        """Many runs of one index that are due some other day."""
        with timed() as answer:
            await self.enqueue_many_at(index, count, due)

        return answer

    def start_working(self) -> None:
        run_on(self.loop, self.work)

    def serve(self) -> None:
        run_on(self.loop, self.serve_here)

    async def serve_here(self) -> None:
        async with self.opened():
            while line := await self.next_line():
                try:
                    request = json.loads(line)
                    answer = {"ok": await getattr(self, "do_" + request.pop("do"))(**request)}
                except Exception as error:  # the harness is told, and judges
                    LOG.exception("the request failed")
                    answer = {"error": repr(error)}

                say(answer)


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed, from its sources"


def run_on(loop: str, main: Callable[[], Awaitable[None]]) -> None:
    if loop == "trio":
        import trio

        trio.run(main)
    elif loop == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    answer: dict[str, float] = {}
    cpu = time.process_time()
    start = time.perf_counter()
    yield answer
    answer["seconds"] = time.perf_counter() - start
    answer["cpu"] = time.process_time() - cpu


def pauses(count: int, every: float) -> Iterator[float]:
    """How long to wait before each: an open loop, which waits for no answer, with irregular steps."""
    chance = random.Random(7)
    due = time.perf_counter()

    for _ in range(count):
        due += every * chance.uniform(0.5, 1.5)
        yield max(0.0, due - time.perf_counter())


def chunks(indices: Iterable[int], size: int = 1000) -> Iterator[list[int]]:
    todo = iter(indices)

    while chunk := list(islice(todo, size)):
        yield chunk


def answer_to(line: str, act: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    try:
        return {"ok": act(json.loads(line))}
    except Exception as error:  # the harness is told, and judges
        LOG.exception("the request failed")
        return {"error": repr(error)}


def claim_stdout() -> Callable[[dict[str, Any]], None]:
    """Keep stdout for the protocol; what a library prints goes to stderr, the harness's log."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def write(message: dict[str, Any]) -> None:
        lines.write(json.dumps(message) + "\n")

    return write


say: Callable[[dict[str, Any]], None] = print


def die_with_parent() -> None:
    """No worker outlives the harness, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def play(make: Callable[[dict[str, Any]], SyncPeer | AsyncPeer]) -> None:
    """The main of a contestant."""
    global mark, say  # noqa: PLW0603 - one process plays one part
    die_with_parent()
    say = claim_stdout()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    threading.stack_size(512 * 1024)
    options = json.loads(sys.argv[1])
    mark = make_mark(options["marks"], options["size"], options["held_from"])
    peer = make(options)
    say({"ok": peer.versions()})

    if options["role"] == "client":
        peer.serve()
    else:
        sys.stdin.readline()
        peer.start_working()
