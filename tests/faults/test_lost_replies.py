"""The sharpest fault: a script has run, and its reply is lost together with the connection.

Each kind of script once. Scripts are loaded beforehand, so that the reply that is lost is that of a script that ran.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from anysched import BackendUnavailable, EntryExists, InvalidState, Run, RunStatus, Scheduler, SchedulerConfig
from anysched.backends.redis.scripts import all_scripts, script
from anysched.testing import FaultyProxy, RedisServer

from .polling import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

BY_LOOPS = ["join", "declare", "renew", "work", "tick", "acquire_lock", "refresh_lock", "release_lock", "leave"]
"""Scripts that a node sends of its own accord, and repeats until there is an answer."""


def losing(proxy: FaultyProxy, name: str, count: int = 1) -> None:
    proxy.drop_replies(count, containing=script(name).sha.encode())


def remaining(proxy: FaultyProxy) -> int:
    """How many replies that were to be lost have not been asked for yet."""
    return proxy._replies_to_drop


@pytest.mark.parametrize("name", BY_LOOPS)
async def test_what_a_node_repeats_is_done_once(
    name: str, server: RedisServer, preload: Any, make_load: Any, via: Any
) -> None:
    """Two replies of that script are lost on the one node's way. No run is lost or doubled, and no fire.

    Breaks that fail here: "claim nonce" (work), "fencing" does not, since nobody is stale.
    """
    preload(server)

    async with FaultyProxy(target_port=server.port) as proxy:
        load = make_load(urls=[via(proxy)], client_url=server.url, lease="1500ms")
        early = name in ("join", "declare", "acquire_lock")

        if early:
            losing(proxy, name, 2)

        with anyio.fail_after(30):
            async with load.running() as ledger:
                await anyio.sleep(0.3)

                if not early:
                    losing(proxy, name, 2)

                await anyio.sleep(0.6)

        assert 0 == remaining(proxy) or (name == "leave" and 1 == remaining(proxy))
        assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)
        ledger.check_fires(at_least=2, every=0.25)

        async with Scheduler(server.url) as after:
            assert [] == await after.nodes()
            assert 0 == (await after.totals()).running


async def test_a_claim_whose_replies_are_lost_time_and_again_is_claimed_once(
    server: RedisServer, preload: Any, make_load: Any, via: Any
) -> None:
    """Six replies to *settle and claim* are lost in a row: each run is still done once.

    Break: "claim nonce" leaves what was claimed in the first of two commands running until the lease ends.
    """
    preload(server)

    async with FaultyProxy(target_port=server.port) as proxy:
        load = make_load(urls=[via(proxy)], client_url=server.url, lease="5s")

        async with load.running() as ledger:
            for _ in range(6):
                losing(proxy, "work")
                await until(lambda: remaining(proxy) == 0)

        assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)


async def test_an_enqueue_that_is_repeated_after_its_run_has_ended_makes_no_second_run(
    server: RedisServer, preload: Any, make_load: Any, via: Any
) -> None:
    """Replies to `enqueue` are lost under load; by the time the client repeats it, its runs may well be done.

    Break: "run id" (each of these is done twice).
    """
    preload(server)

    async with FaultyProxy(target_port=server.port) as proxy:
        load = make_load(urls=[server.url], client_url=via(proxy), lease="5s", work=0.0)

        async with load.running() as ledger:
            for _ in range(8):
                losing(proxy, "enqueue")
                await until(lambda: remaining(proxy) == 0)
                await anyio.sleep(0.1)

        assert ledger.refused >= 8
        assert (set(), {}, 0) == (ledger.lost, ledger.doubled, ledger.leases_lost)


# --- what a caller sends -----------------------------------------------------------------------------------------

Call = Callable[[Scheduler, "Run[Any]"], Awaitable[Any]]


async def add(scheduler: Scheduler, run: Run[Any]) -> None:
    """That the repetition says the entry is there tells its caller that the first was done."""
    try:
        await scheduler.add("@every 1h", scheduler.jobs["work"].bind(), id="added")
    except EntryExists:
        await scheduler.get_entry("added")


async def revive(scheduler: Scheduler, run: Run[Any]) -> None:
    with pytest.raises(InvalidState):
        await run.retry()


async def take_lock(scheduler: Scheduler, run: Run[Any]) -> None:
    async with scheduler.lock("it"):
        pass


CALLS: dict[str, tuple[str, Call]] = {
    "enqueue": ("enqueue", lambda scheduler, run: scheduler.jobs["work"].options(run_id="again").enqueue()),
    "find": ("find_key", lambda scheduler, run: scheduler.find(key="key")),
    "get_run": ("get_runs", lambda scheduler, run: scheduler.get_run(run.id)),
    "cancel": ("cancel", lambda scheduler, run: run.cancel()),
    "reschedule": ("reschedule", lambda scheduler, run: run.reschedule(delay="2h")),
    "retry": ("revive", revive),
    "runs": ("list_runs", lambda scheduler, run: scheduler.runs()),
    "totals": ("totals", lambda scheduler, run: scheduler.totals()),
    "add": ("put_entry", add),
    "get_entry": ("get_entry", lambda scheduler, run: scheduler.get_entry("entry")),
    "entries": ("list_entries", lambda scheduler, run: scheduler.entries()),
    "pause": ("pause_entry", lambda scheduler, run: scheduler.pause("entry")),
    "resume": ("resume_entry", lambda scheduler, run: scheduler.resume("entry")),
    "pause_queue": ("pause_queue", lambda scheduler, run: scheduler.pause_queue("default")),
    "resume_queue": ("pause_queue", lambda scheduler, run: scheduler.resume_queue("default")),
    "queues": ("list_queues", lambda scheduler, run: scheduler.queues()),
    "nodes": ("list_nodes", lambda scheduler, run: scheduler.nodes()),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_caller_is_told_and_may_repeat(name: str, server: RedisServer, preload: Any, via: Any) -> None:
    """The call raises `BackendUnavailable`; repeated, it has the effect of one, as the store shows.

    (Repeated after its run has ended, an enqueue with the same id makes no second run: see above.)
    """
    preload(server)
    script_name, call = CALLS[name]

    async def store_after(lost: int) -> list[Any]:
        server.cli("FLUSHDB")

        async with FaultyProxy(target_port=server.port) as proxy:
            scheduler = Scheduler(via(proxy))

            @scheduler.job(name="work")
            async def work() -> None: ...

            async with scheduler:
                run = await work.options(delay="1h", key="key", run_id="first").enqueue()
                await scheduler.add("@every 1h", work.bind(), id="entry")
                losing(proxy, script_name, lost)

                for _ in range(lost):
                    with pytest.raises(BackendUnavailable):
                        await call(scheduler, run)

                await call(scheduler, run)
                assert 0 == remaining(proxy)
                info, entry, totals = await run.info(), await scheduler.get_entry("entry"), await scheduler.totals()
                found = [(one.id, one.status) for one in await scheduler.entries()]
                return [info.status, entry.status, totals, found, len(await scheduler.runs())]

    with anyio.fail_after(20):
        assert await store_after(0) == await store_after(2)


async def test_waiting_callers_are_not_told_but_served(server: RedisServer, preload: Any, via: Any) -> None:
    """`result()` and a lock in wait outlast a lost reply: they repeat by themselves.

    Break: "lock owner" has the second command find the lock taken, by the first.
    """
    preload(server)

    async with FaultyProxy(target_port=server.port) as proxy:
        scheduler = Scheduler(via(proxy), config=SchedulerConfig(lease="2s"))

        @scheduler.job
        async def work() -> str:
            await anyio.sleep(0.2)
            return "done"

        async with scheduler.running():
            run = await work.enqueue()
            losing(proxy, "watch")
            assert "done" == await run.result()
            assert 0 == remaining(proxy)
            losing(proxy, "acquire_lock")

            with anyio.fail_after(3):
                async with scheduler.lock("it", ttl="30s"):
                    pass

            assert 0 == remaining(proxy)


async def test_progress_whose_reply_is_lost_can_be_reported_again(server: RedisServer, preload: Any, via: Any) -> None:
    """A handler is told, as any caller is, and may go on."""
    from anysched import current_run

    preload(server)

    async with FaultyProxy(target_port=server.port) as proxy:
        scheduler = Scheduler(via(proxy))

        @scheduler.job
        async def work() -> int:
            losing(proxy, "set_progress")

            for tries in range(5):
                try:
                    await current_run().set_progress(0.5, "half")
                except BackendUnavailable:
                    continue

                return tries

            return -1

        with anyio.fail_after(15):
            async with scheduler.running():
                run = await work.enqueue()
                assert 1 == await run.result()
                assert (RunStatus.SUCCEEDED, 1) == ((await run.info()).status, (await run.info()).attempt)


def test_every_script_is_lost_once_in_here() -> None:
    """A script that is added has to be added here too, or named with the reason why it cannot be."""
    elsewhere = {
        "watch", "set_progress",  # in tests of their own
        "trigger",  # no repetition: each call asks for a run of its own
        "remove_entry",  # answers "not found" when it is repeated, which tells the caller that it was done
        "quarantine", "quarantine_entry",  # sent when a record was found to be corrupt, without being waited for
    }  # fmt: skip
    named = {*BY_LOOPS, *(name for name, _ in CALLS.values()), *elsewhere}
    assert {one.name for one in all_scripts()} == named
