"""The backend on Redis or Valkey.

Every operation is one script (``lua/<operation>.lua``), sent over one link. Here is only what a script cannot do: who
holds the link, what the arguments and the answers look like on the wire, and the report. What is stored, and who
removes it, is in ``docs/redis.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from datetime import timedelta
from typing import Any, Self

from anyio import TASK_STATUS_IGNORED, current_time
from anyio.abc import TaskStatus
from attrs import define, field

from anysched.backends.records import (
    CancelAnswer,
    Claim,
    Corrupt,
    Enqueued,
    EntryPage,
    EntryRecord,
    EntryWrite,
    Fire,
    FireAnswer,
    Hint,
    LockAnswer,
    NewRun,
    NodeInfo,
    NodeRecord,
    Outcome,
    QueueRecord,
    Renewed,
    RunPage,
    RunRecord,
    ServerReport,
    TickReply,
    Totals,
    WorkReply,
)
from anysched.backends.redis import wire
from anysched.backends.redis.addresses import Address, parse_address
from anysched.backends.redis.keys import everybody_channel, inbox_channel, key_prefix
from anysched.backends.redis.link import TIME_LIMIT, Argument, Link, library_of, open_link
from anysched.backends.redis.opening import hold_open
from anysched.backends.redis.report import check_version, make_report, parse_info
from anysched.backends.redis.scripts import script
from anysched.clock import clock_in_force
from anysched.durations import format_duration
from anysched.errors import BackendUnavailable, InvalidOption, NotOpen, RecordCorrupt
from anysched.identifiers import check_name
from anysched.run import RunStatus

__all__ = ["RedisBackend"]

_STATUSES = [status.value for status in RunStatus]


def _checked_server(server: object) -> object:
    if not isinstance(server, Address) and library_of(server) == "redis":
        most = getattr(getattr(server, "connection_pool", None), "max_connections", None)

        if isinstance(most, int) and most < 2:
            raise InvalidOption("max_connections", most, "2 or more for the client: one for calls, one for hints")

    return server


def _checked_prefix(namespace: str) -> str:
    return key_prefix(check_name("namespace", namespace))


@define(eq=False)
class RedisBackend:
    """A :class:`~anysched.backends.Backend` on a Redis server, 6.2 or newer, or a Valkey.

    Made outside any event loop, used inside one: asyncio by redis-py, Trio by coredis. A client that is handed over is
    used as it is, with its pool, TLS, credentials and Sentinel, and left open.

    Args:
        client: a ``redis.asyncio.Redis``, or under either loop a ``coredis.Redis``. Of redis-py's pool two connections
            are taken and held, one for calls and one for hints; coredis' is not used.
        namespace: what all keys begin with. Programs that share it share everything.
        time_limit: seconds that connecting, and each reply, may take; under a third of the lease of every scheduler
            that uses it, so that a lost command leaves time for another. Default: 3.75, or a quarter of a lease that
            is shorter than 15 s.

    Raises:
        InvalidOption: the client is of no library that can be used, its pool is for one connection only, or the
            namespace cannot be.

    A cancelled call may have happened, but for those that only read; every one may be repeated.
    """

    _server: object = field(alias="client", converter=_checked_server)
    _prefix: str = field(default="anysched", alias="namespace", converter=_checked_prefix, kw_only=True)
    _time_limit: float = field(default=TIME_LIMIT, alias="time_limit", kw_only=True)
    _links: list[Link] = field(factory=list[Link], init=False)
    """One for each ``run`` that is running, connected and greeted. The first is used."""

    @classmethod
    def from_url(cls, url: str, *, namespace: str = "anysched", time_limit: float = TIME_LIMIT) -> RedisBackend:
        """A backend on the server at an address, with a client of its own.

        Args:
            url: ``redis://``, ``rediss://``, ``unix://`` or ``redis+sentinel://``.
            namespace: what all keys begin with.
            time_limit: as for the class.

        Raises:
            InvalidURL: it cannot be understood.
        """
        return cls(parse_address(url), namespace=namespace, time_limit=time_limit)

    @property
    def namespace(self) -> str:
        """What all keys begin with."""
        return self._prefix[1:-2]

    def in_namespace(self, namespace: str) -> RedisBackend:
        """Another backend on the same server, or around the same client.

        Args:
            namespace: what all its keys begin with.

        Raises:
            InvalidOption: it cannot be.
        """
        return RedisBackend(self._server, namespace=namespace, time_limit=self._time_limit)

    def for_lease(self, lease: timedelta) -> Self:
        """This backend, or one like it with a shorter time limit, if it was given none.

        Args:
            lease: for how long a node that uses it may be silent.

        Raises:
            InvalidOption: the time limit is a third of the lease or more.
        """
        seconds = lease.total_seconds()

        if self._time_limit != TIME_LIMIT:
            if not self._time_limit < seconds / 3:
                allowed = f"seconds, less than a third of the lease, which is {format_duration(lease)}"
                raise InvalidOption("time_limit", self._time_limit, allowed)

            return self

        if seconds / 4 >= TIME_LIMIT:
            return self

        fitted = copy(self)
        fitted._time_limit, fitted._links = seconds / 4, []
        return fitted

    # --- life ----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Hold a connection until cancelled.

        Raises:
            BackendUnavailable: it could not be made.
            BackendRefused: wrong credentials, or a server that is too old.
        """
        link = open_link(self._server, time_limit=self._time_limit)

        def opened() -> None:
            self._links.append(link)
            task_status.started()

        try:
            await hold_open(link, _greet, opened)
        finally:
            self._links[:] = [other for other in self._links if other is not link]

    async def time_ms(self) -> int:
        """The server's clock."""
        seconds, micros = await self._command("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    async def report(self) -> ServerReport:
        """What ``anysched check`` shows."""
        info = parse_info(await self._command("INFO"))
        asked_at = current_time()
        time_ms = await self.time_ms()
        round_trip_ms = (current_time() - asked_at) * 1000

        return make_report(
            info,
            address=str(self._server) if isinstance(self._server, Address) else "that of your client",
            time_ms=time_ms,
            our_time_ms=clock_in_force.get().microseconds() // 1000 - round(round_trip_ms / 2),
            round_trip_ms=round_trip_ms,
        )

    async def listen(
        self, inbox: str, deliver: Callable[[Hint], None], *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Call ``deliver`` with each hint for ``inbox`` or for all, until cancelled."""

        def take(message: bytes) -> None:
            for hint in wire.decode_hints(message):
                deliver(hint)

        channels = [inbox_channel(self._prefix, inbox), everybody_channel(self._prefix)]
        await self._link().listen(channels, take, task_status=task_status)

    def _link(self) -> Link:
        if not self._links:
            raise NotOpen("the Redis backend")

        return self._links[0]

    async def _call(self, name: str, *args: Argument) -> Any:
        """Run a script. If its link is closed meanwhile and another is open, it is sent again over that one."""
        link = self._link()

        try:
            return await link.call(script(name), (self._prefix,), args)
        except (BackendUnavailable, NotOpen):
            if link in self._links or not self._links:
                raise

        return await self._call(name, *args)

    async def _command(self, *words: Argument) -> Any:
        return await self._link().command(*words)

    # --- runs, from outside --------------------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[NewRun]) -> list[Enqueued]:
        """Store runs, all or none, in the order given."""
        return wire.decode_enqueued(await self._call("enqueue", *wire.encode_runs(runs)), runs)

    async def get_runs(self, run_ids: Sequence[str]) -> list[RunRecord | Corrupt | None]:
        """The records of these runs, in order."""
        blobs = await self._call("get_runs", *map(_asked, run_ids))
        return [None if blob is None else wire.decode_run(blob) for blob in blobs]

    async def find_key(self, key: str) -> str | None:
        """The id of the live run that goes by ``key``."""
        found = await self._call("find_key", _asked(key))
        return None if found is None else found.decode()

    async def watch(self, run_id: str, inbox: str) -> RunRecord | Corrupt | None:
        """The run's record; ``inbox`` is told when it has become final."""
        blob = await self._call("watch", _asked(run_id), inbox)
        return None if blob is None else wire.decode_run(blob)

    async def cancel(self, run_id: str) -> CancelAnswer | None:
        """Cancel a run.

        Raises:
            RecordCorrupt: its record cannot be read.
        """
        match await self._call("cancel", _asked(run_id)):
            case [status, requested]:
                return CancelAnswer(status.decode(), bool(requested))

            case [reason]:
                raise RecordCorrupt(f"of run {run_id!r}", wire.show(reason))

            case _:
                return None

    async def revive(self, run_id: str) -> str | None:
        """Make a ``failed`` run ready again.

        Raises:
            RecordCorrupt: its record cannot be read.
        """
        return _status(run_id, await self._call("revive", _asked(run_id)))

    async def reschedule(self, run_id: str, *, at_ms: int | None = None, delay_ms: int | None = None) -> str | None:
        """Move a run that is not running to another due time.

        Raises:
            RecordCorrupt: its record cannot be read.
        """
        instant = "" if at_ms is None else at_ms
        return _status(run_id, await self._call("reschedule", _asked(run_id), instant, delay_ms or 0))

    async def list_runs(
        self, *, status: str | None = None, queue: str | None = None, cursor: str = "", limit: int = 50
    ) -> RunPage:
        """A page of runs, newest first within a status.

        Ready runs come queue by queue, within it in the reverse of the order in which they will be claimed; scheduled
        and retrying ones by their due time, the latest first.
        """
        statuses = wire.encode_words(_STATUSES if status is None else [status])
        after, *blobs = await self._call("list_runs", _asked(queue or ""), cursor, limit, statuses)
        return RunPage(tuple([wire.decode_run(blob) for blob in blobs]), after.decode())

    # --- runs, from a worker -------------------------------------------------------------------------------------

    async def join(self, node: NodeInfo) -> int:
        """Make a node known, or known anew."""
        return await self._call("join", wire.encode_one(node))

    async def renew(self, node_id: str, ttl_ms: int) -> Renewed:
        """Extend the lease of a node, and with it that of every run it holds."""
        return wire.decode_renewed(await self._call("renew", node_id, ttl_ms))

    async def leave(self, node_id: str) -> None:
        """Take a node off the list, and hand back whatever it still holds."""
        await self._call("leave", node_id)

    async def work(self, node_id: str, outcomes: Sequence[Outcome], claim: Claim | None) -> WorkReply:
        """Settle outcomes and claim what is next, in one step."""
        reply, unread = wire.decode_work(
            await self._call("work", node_id, wire.encode_outcomes(outcomes), wire.encode_claim(claim))
        )

        for record in unread:
            await self._call("quarantine", record.id, node_id, record.reason)

        return reply

    async def set_progress(self, run_id: str, token: int, fraction: float, message: str) -> bool:
        """Store the progress of a held run and forget its crashes."""
        return bool(await self._call("set_progress", run_id, token, repr(fraction), message))

    # --- entries -------------------------------------------------------------------------------------------------

    async def put_entry(self, entry: EntryWrite, *, replace: bool, nonce: str) -> bool:
        """Store an entry."""
        return bool(await self._call("put_entry", wire.encode_one(entry), int(replace), nonce))

    async def declare(self, program: str, entries: Sequence[EntryWrite], *, ttl_ms: int) -> list[str]:
        """Reconcile declared entries, as one running program has them."""
        answers = await self._call("declare", program, wire.encode_all(entries), ttl_ms)
        return [answer.decode() for answer in answers]

    async def get_entry(self, entry_id: str) -> EntryRecord | Corrupt | None:
        """One entry."""
        blob = await self._call("get_entry", _asked(entry_id))
        return None if blob is None else wire.decode_entry(blob)

    async def list_entries(self, *, cursor: str = "", limit: int = 100) -> EntryPage:
        """A page of entries, by id."""
        after, *blobs = await self._call("list_entries", cursor, limit)
        return EntryPage(tuple([wire.decode_entry(blob) for blob in blobs]), after.decode())

    async def pause_entry(self, entry_id: str, note: str) -> bool:
        """Stop an entry from firing until it is resumed."""
        return bool(await self._call("pause_entry", _asked(entry_id), note))

    async def resume_entry(self, entry_id: str, *, revision: str, next_ms: int | None) -> bool:
        """Let a paused entry fire again, next at ``next_ms``."""
        return bool(await self._call("resume_entry", _asked(entry_id), revision, next_ms or 0))

    async def remove_entry(self, entry_id: str) -> bool:
        """Remove an entry, its waiting runs being cancelled."""
        return bool(await self._call("remove_entry", _asked(entry_id)))

    async def tick(self, nonce: str, fires: Sequence[Fire], *, count: int, skip: int = 0) -> TickReply:
        """Fire entries and return the next due ones, in one step."""
        reply, unread = wire.decode_tick(await self._call("tick", nonce, wire.encode_fires(fires), count, skip))

        for record in unread:
            await self._call("quarantine_entry", record.id, record.reason, f"{record.cursor_ms:.0f}")

        return reply

    async def trigger(self, entry_id: str, run: NewRun, *, overlap: str) -> FireAnswer | None:
        """Make one run of an entry now, its schedule untouched."""
        counts = await self._call("trigger", _asked(entry_id), wire.encode_one(run), overlap)
        return None if counts is None else FireAnswer(True, *counts)

    # --- locks ---------------------------------------------------------------------------------------------------

    async def acquire_lock(self, name: str, owner: str, *, ttl_ms: int, wait_inbox: str | None) -> LockAnswer:
        """Take a lock, or a place in its line."""
        waits = int(wait_inbox is not None)
        return LockAnswer(*await self._call("acquire_lock", name, owner, ttl_ms, waits, wait_inbox or ""))

    async def refresh_lock(self, name: str, owner: str, *, ttl_ms: int) -> bool:
        """Extend a held lock."""
        return bool(await self._call("refresh_lock", name, owner, ttl_ms))

    async def release_lock(self, name: str, owner: str) -> bool:
        """Give back a held lock, or leave its line."""
        return bool(await self._call("release_lock", name, owner))

    # --- queues, nodes, numbers ----------------------------------------------------------------------------------

    async def pause_queue(self, queue: str) -> None:
        """No claims from this queue until it is resumed."""
        await self._call("pause_queue", queue, 1)

    async def resume_queue(self, queue: str) -> None:
        """Allow claims from this queue again, and wake its hungry nodes."""
        await self._call("pause_queue", queue, 0)

    async def list_queues(self) -> list[QueueRecord]:
        """Every queue that was used, by name."""
        return wire.decode_queues(await self._call("list_queues"))

    async def list_nodes(self) -> list[NodeRecord]:
        """Every node that holds a lease, by id."""
        return wire.decode_nodes(await self._call("list_nodes"))

    async def totals(self) -> Totals:
        """Counts over the whole namespace."""
        return wire.decode_totals(*await self._call("totals"))


async def _greet(link: Link) -> None:
    check_version(parse_info(await link.command("INFO", "server")))
    script("enqueue")  # it is put together now, so that the first who enqueues need not wait for that


def _asked(name: str) -> bytes:
    """A name that is asked for. What UTF-8 has not is sent too: nothing is stored by it, so that it is not found."""
    return str(name).encode("utf-8", "surrogatepass")


def _status(run_id: str, reply: bytes | list[bytes] | None) -> str | None:
    if isinstance(reply, list):
        raise RecordCorrupt(f"of run {run_id!r}", wire.show(reply[0]))

    return None if reply is None else reply.decode()
