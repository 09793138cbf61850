"""The bare cycle: what a minimal worker in Python can do, as the mark to come close to. No features.

Claim and finish by one script, in batches; a task and a time limit for each job; a function found by its name and
called with decoded arguments; a stored result. Nothing is retried, renewed, recovered, cancelled or observed.
"""
# /// script
# dependencies = ["redis[hiredis]", "coredis", "trio", "uvloop"]
# [tool.bench]
# loops = ["asyncio", "uvloop", "trio"]
# here = true
# pace = 40000
# lacks = ["killed"]
# ///

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import line_protocol

LUA = Path(__file__).with_name("bare.lua").read_text()
TIME_LIMIT = 30.0  # seconds an attempt may take
LONGEST_WAIT = 10.0  # seconds without a look at the queue

RING = "if redis.call('LLEN', KEYS[2]) == 0 then redis.call('RPUSH', KEYS[2], 1) end"
ENQUEUE = f"redis.call('RPUSH', KEYS[1], unpack(ARGV)) {RING}"
ENQUEUE_AT = f"redis.call('ZADD', KEYS[1], unpack(ARGV)) {RING}"


def make_job(i: int) -> str:
    return f"{uuid4().hex}{json.dumps(['job', [i]])}"


class Bare(line_protocol.AsyncPeer):
    packages = ("redis", "coredis", "hiredis", "uvloop", "trio")

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        mark = line_protocol.mark

        async def job(i: int) -> None:
            if mark(i):
                await self.hold()

        self.jobs = {"job": job}

        if self.loop == "trio":
            import coredis

            async with coredis.Redis.from_url(self.url, decode_responses=True) as redis:
                enqueue, enqueue_at, cycle = map(redis.register_script, (ENQUEUE, ENQUEUE_AT, LUA))
                self.blpop = lambda: redis.blpop(["wake"], LONGEST_WAIT)
                self.push, self.push_at, self.cycle = enqueue, enqueue_at, cycle
                yield
        else:
            from redis.asyncio import Redis

            limit = 2 * LONGEST_WAIT  # its default is less than that

            async with Redis.from_url(self.url, decode_responses=True, protocol=3, socket_timeout=limit) as redis:
                self.blpop = lambda: redis.blpop(["wake"], LONGEST_WAIT)
                self.push, self.push_at, self.cycle = map(redis.register_script, (ENQUEUE, ENQUEUE_AT, LUA))
                yield

    # --- enqueue ---------------------------------------------------------------------------------------------

    async def enqueue(self, i: int) -> None:
        await self.push(["queue", "wake"], [make_job(i)])

    async def enqueue_many(self, indices: Iterable[int]) -> None:
        for chunk in line_protocol.chunks(indices):
            await self.push(["queue", "wake"], [make_job(i) for i in chunk])

    async def enqueue_at(self, i: int, due: float) -> None:
        await self.push_at(["delayed", "wake"], [due * 1000, make_job(i)])

    async def enqueue_many_at(self, index: int, count: int, due: float) -> None:
        for chunk in line_protocol.chunks(range(count)):
            scored = [part for _ in chunk for part in (due * 1000, make_job(index))]
            await self.push_at(["delayed", "wake"], scored)

    # --- work ------------------------------------------------------------------------------------------------

    async def work(self) -> None:
        self.free = self.concurrency
        self.finished: list[str] = []
        attempt = self.attempt_on_trio if self.loop == "trio" else self.attempt_on_asyncio
        self.ready = self.make_event()

        async with self.opened(), self.tasks() as start:
            start(self.watch)

            while True:
                self.ready = self.make_event()
                jobs, nearest = await self.turn()

                for job in jobs:
                    self.free -= 1
                    start(attempt, job)

                if jobs:
                    await self.sleep(0)

                if not self.finished and (not jobs or not self.free):
                    await self.wait(float(nearest) / 1000 - time.time() if nearest else LONGEST_WAIT)

    async def turn(self) -> tuple[list[str], str]:
        finished, self.finished = self.finished, []
        return await self.cycle(["queue", "delayed", "claimed"], [int(time.time() * 1000), self.free, *finished])

    async def attempt_on_asyncio(self, job: str) -> None:
        async with asyncio.timeout(TIME_LIMIT):
            result = await self.call(job)

        self.finish(job, result)

    async def attempt_on_trio(self, job: str) -> None:
        import trio

        with trio.fail_after(TIME_LIMIT):
            result = await self.call(job)

        self.finish(job, result)

    async def call(self, job: str) -> str:
        name, arguments = json.loads(job[32:])
        return json.dumps(await self.jobs[name](*arguments))

    def finish(self, job: str, result: str) -> None:
        self.finished += (job[:32], result)
        self.free += 1
        self.ready.set()

    async def watch(self) -> None:
        """One connection that waits for the enqueuer's bell."""
        while True:
            if await self.blpop():
                self.ready.set()

    def make_event(self) -> Any:
        if self.loop == "trio":
            import trio

            return trio.Event()

        return asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Until a job has finished, the bell has rung, or the nearest delayed job is due."""
        if self.loop == "trio":
            import trio

            with trio.move_on_after(max(0.0, min(seconds, LONGEST_WAIT))):
                await self.ready.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(seconds, LONGEST_WAIT))):
                    await self.ready.wait()


line_protocol.play(Bare)
