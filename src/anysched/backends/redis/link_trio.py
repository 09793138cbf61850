"""coredis under Trio, as a link uses it; it runs on asyncio just as well.

Its connections are used, and its pool is not: that one loses a place whenever a connection dies in use or is cancelled
while it is being made, until none is left, and it dies with the task that has entered it. coredis connects, greets and
ends a connection; what goes over it in between is ours (:mod:`.receiving_trio`). A client of the user's gives the kind
of connection, the place, credentials and Sentinels.
"""

from __future__ import annotations

import math
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Event,
    create_task_group,
    current_time,
    fail_after,
    sleep,
    sleep_until,
)
from anyio.abc import SocketAttribute
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import define, field, frozen
from coredis import SentinelManagedConnection
from coredis.connection import TCPConnection, TCPLocation, UnixDomainSocketConnection, UnixDomainSocketLocation
from coredis.exceptions import NoScriptError, PrimaryNotFoundError, RedisError

from anysched.backends.redis.addresses import TLS, Address
from anysched.backends.redis.failures import is_demoted
from anysched.backends.redis.link import (
    CLIENT_NAME,
    GRACE,
    LOST,
    QUIET,
    SILENT,
    STRAY,
    Argument,
    Client,
    NoScript,
    Wire,
)
from anysched.backends.redis.packing import pack
from anysched.backends.redis.receiving_trio import Receiver
from anysched.errors import BackendUnavailable

__all__ = ["TrioClient", "open_client"]

_FAILURES = (RedisError, OSError, TimeoutError, EndOfStream, BrokenResourceError, ClosedResourceError)
"""coredis lets errors of AnyIO's streams through where a connection ends as something is being written."""

_WHO = b"SENTINEL GET-MASTER-ADDR-BY-NAME"

Make = Callable[[], Awaitable[Any]]
"""Makes a connection, not connected yet."""


def open_client(server: Any, time_limit: float) -> Client:
    """A client for an address, or by one of coredis'."""
    if not isinstance(server, Address):
        return TrioClient(make=_made_as_by(server), time_limit=time_limit)

    options: dict[str, Any] = {
        "db": server.db,
        "username": server.username,
        "password": server.password,
        "client_name": server.client_name or CLIENT_NAME,
        "stream_timeout": time_limit,
        "connect_timeout": time_limit,
    }

    if server.path is not None:
        make = _made_on(UnixDomainSocketLocation(server.path), options)
    elif server.service is not None:
        make = _made_by_sentinel(server, options)
    else:
        make = _Steady(*server.hosts[0], server.tls, options)

    return TrioClient(make=make, time_limit=time_limit)


def _made_as_by(client: Any) -> Make:
    pool = client.connection_pool

    async def make() -> Any:
        await checkpoint()
        options = {**pool.connection_kwargs, "decode_responses": False, "noreply": False, "max_idle_time": None}

        if hasattr(pool, "sentinel_manager"):
            place = await pool.get_primary_location()
            return pool.connection_class(place, pool.service_name, pool.is_primary, **options)

        return pool.connection_class(pool.location, **options)

    return make


def _made_on(place: UnixDomainSocketLocation, options: Mapping[str, Any]) -> Make:
    async def make() -> Any:
        await checkpoint()
        return UnixDomainSocketConnection(place, **options)

    return make


def _made_by_sentinel(address: Address, options: Mapping[str, Any]) -> Make:
    tls: dict[str, Any] = {"ssl_context": address.tls.context()} if address.tls else {}
    credentials = {"username": address.sentinel_username, "password": address.sentinel_password}
    places = [TCPLocation(host, port) for host, port in address.hosts]
    share = options["connect_timeout"] / (
        2 * len(places) + 1
    )  # so that the last can still answer when the others do not
    service = address.service or ""

    async def make() -> Any:
        await checkpoint()
        failure: Exception | None = None

        for place in places:
            try:
                sentinel = TCPConnection(place, **credentials, **tls)

                async with _connected(sentinel, share):
                    answer: Any = await sentinel.create_request(_WHO, service, decode=False, timeout=share)
            except _FAILURES as error:
                failure = error
                continue

            if answer:
                master = TCPLocation(answer[0].decode(), int(answer[1]))
                places.insert(0, places.pop(places.index(place)))
                return SentinelManagedConnection(master, service, True, **options, **tls)

        raise PrimaryNotFoundError(service) from failure

    return make


@asynccontextmanager
async def _connected(connection: Any, time_limit: float) -> AsyncGenerator[None]:
    """Connected as long as the block lasts. What fails in the block leaves it as it is, without a group around it."""
    failure: Exception | None = None

    async with create_task_group() as group:
        try:
            with fail_after(time_limit):
                await group.start(connection.run)

            yield
        except _FAILURES as error:
            failure = error
        finally:
            _close_streams(connection)

        group.cancel_scope.cancel(reason="the connection is not needed any more")

    if failure is not None:
        raise failure


def _close_streams(connection: Any) -> None:
    """Close what coredis forgets to close when a connection could not be made."""
    for part in cast("dict[str, object]", connection.__dict__).values():
        if isinstance(part, (MemoryObjectSendStream, MemoryObjectReceiveStream)):
            part.close()


class _Named(ssl.SSLContext):
    """Checks one host's name, whatever address was connected to."""

    host = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.host, session)


@define(eq=False)
class _Steady:
    """Connects again to the address that its host's name led to, without asking a resolver, until told to forget it.

    The resolver works in a thread, and a busy event loop starves threads.
    """

    host: str
    port: int
    tls: TLS | None
    options: Mapping[str, Any]
    _address: str | None = field(default=None, init=False)

    async def __call__(self) -> Any:
        await checkpoint()
        address, self._address = self._address, None  # kept only if connecting to it works
        tls: dict[str, Any] = {}

        if self.tls is not None:
            context = cast("_Named", self.tls.context(_Named))
            context.host = self.host
            tls = {"ssl_context": context}

        place = TCPLocation(address or self.host, self.port)
        connection: Any = TCPConnection(place, socket_keepalive=True, **self.options, **tls)
        connection.register_connect_callback(self._keep)
        return connection

    def forget(self) -> None:
        """Ask the resolver the next time."""
        self._address = None

    def _keep(self, connection: Any) -> None:
        self._address = connection.stream.extra(SocketAttribute.remote_address)[0]


@frozen
class _Ready:
    """What a connection takes for the status of the task that starts it."""

    started: Callable[[], None]


class _Part(Protocol):
    """What a connection is for."""

    def begin(self, connection: Any, receiver: Receiver) -> None:
        """The server has greeted."""
        ...

    def take(self, answer: Any, pushed: bool) -> None:
        """A reply has come, or what was not asked for. What is raised ends the connection."""
        ...

    async def watch(self) -> None:
        """Raise when the connection is of no more use."""
        ...


@define(eq=False, kw_only=True)
class TrioClient:
    """A :class:`~anysched.backends.redis.link.Client` by connections of coredis."""

    make: Make
    time_limit: float
    failures: tuple[type[Exception], ...] = _FAILURES

    async def hold(self, ready: Callable[[Wire], None]) -> None:
        """See :meth:`.Client.hold`."""
        wire = _TrioWire(self.time_limit, ready)

        try:
            await self._run(wire)
        finally:
            wire.end()

    async def hear(self, channels: Sequence[str], deliver: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        """See :meth:`.Client.hear`."""
        await self._run(_Hearing(self.time_limit, channels, deliver, ready))

    def forget(self) -> None:
        """See :meth:`.Client.forget`."""
        if isinstance(self.make, _Steady):
            self.make.forget()

    async def close(self) -> None:
        """See :meth:`.Client.close`. There is nothing left."""
        await checkpoint()

    async def _run(self, part: _Part) -> None:
        """Connect, and return when the connection is lost, or raise what it was lost by."""
        deadline = current_time() + self.time_limit
        connection = await self._made(deadline)
        failures: list[Exception] = []

        def take(answer: Any, pushed: bool) -> None:
            try:
                part.take(answer, pushed)
            except Exception as error:
                failures.append(error)  # coredis keeps it to itself
                raise

        async def until_failure(task: Callable[[], Awaitable[None]]) -> None:
            try:
                await task()
            except _FAILURES as error:
                failures.append(error)
                # Before anybody is awake who was told, and might go on with it.
                connection.invalidate("it is of no more use")

        receiver = Receiver.of(connection, take)
        connecting = CancelScope(deadline=deadline)

        async with create_task_group() as group:

            def greeted() -> None:
                connecting.deadline = math.inf
                receiver.has_greeted = True
                part.begin(connection, receiver)
                group.start_soon(until_failure, receiver.send_rest)
                group.start_soon(until_failure, part.watch)

            with connecting:
                try:
                    await connection.run(task_status=_Ready(greeted))
                except _FAILURES as error:
                    failures.append(error)
                finally:
                    _close_streams(connection)

            group.cancel_scope.cancel(reason="the connection has ended")

        if connecting.cancelled_caught:
            raise BackendUnavailable(SILENT)

        if failures:
            raise failures[0]

    async def _made(self, deadline: float) -> Any:
        with CancelScope(deadline=deadline):
            return await self.make()

        raise BackendUnavailable(SILENT)


@define(eq=False)
class _Hearing:
    """Delivers what is published. Out of silence, a sign of life is asked for."""

    time_limit: float
    channels: Sequence[str]
    deliver: Callable[[bytes], None]
    ready: Callable[[], None]
    receiver: Receiver = field(init=False)
    missing: int = field(init=False)
    """So many channels are not subscribed to yet."""
    heard_at: float = field(init=False)
    """On the event loop's clock: when something came."""

    def begin(self, connection: Any, receiver: Receiver) -> None:
        """See :meth:`_Part.begin`."""
        self.receiver, self.missing, self.heard_at = receiver, len(self.channels), current_time()
        receiver.write(pack(("SUBSCRIBE", *self.channels)))

    def take(self, answer: Any, pushed: bool) -> None:
        """See :meth:`_Part.take`."""
        self.heard_at = current_time()

        match answer:
            case [b"message", _, text]:
                self.deliver(text)
            case [b"subscribe", *_]:
                self.missing -= 1

                if self.missing == 0:
                    self.ready()
            case Exception():
                raise answer
            case _:
                pass

    async def watch(self) -> None:
        """See :meth:`_Part.watch`."""
        while True:
            heard_at = self.heard_at
            await sleep_until(heard_at + QUIET * self.time_limit)

            if self.heard_at == heard_at:
                self.receiver.write(pack(("PING",)))
                await sleep(self.time_limit)
                await sleep(GRACE)

                if self.heard_at == heard_at:
                    raise BackendUnavailable(SILENT)


@define(eq=False)
class _Reply:
    """One that is to come, until then on the event loop's clock."""

    until: float
    came: Event = field(factory=Event, init=False)
    content: Any = field(default=None, init=False)
    is_wanted: bool = field(default=True, init=False)
    """Somebody waits for it."""

    @property
    def is_open(self) -> bool:
        return self.is_wanted and not self.came.is_set()

    def bring(self, content: Any) -> None:
        self.content = content
        self.came.set()


@define(eq=False)
class _TrioWire:
    """A connection, and those who wait for its replies, in order."""

    time_limit: float
    ready: Callable[[Wire], None]
    connection: Any = field(init=False)
    receiver: Receiver = field(init=False)
    waiting: deque[_Reply] = field(factory=deque[_Reply], init=False)

    @property
    def is_alive(self) -> bool:
        """See :attr:`.Wire.is_alive`."""
        return self.receiver.is_open and self.connection.usable

    async def exchange(self, words: Sequence[Argument]) -> Any:
        """See :meth:`.Wire.exchange`."""
        self.receiver.write(pack(words))  # first, so that the server is at it during the rest
        reply = _Reply(current_time() + self.time_limit)
        self.waiting.append(reply)

        try:
            await self.receiver.read_until(reply.came)
        finally:
            reply.is_wanted = False

        if not isinstance(reply.content, Exception):
            return reply.content

        if isinstance(reply.content, NoScriptError):
            raise NoScript from reply.content

        if is_demoted(reply.content):
            self.connection.invalidate("the server has become a replica")

        raise reply.content

    def begin(self, connection: Any, receiver: Receiver) -> None:
        """See :meth:`_Part.begin`."""
        self.connection, self.receiver = connection, receiver
        receiver.is_awaited = lambda: bool(self.waiting)
        self.ready(self)

    def take(self, answer: Any, pushed: bool) -> None:
        """See :meth:`_Part.take`."""
        if pushed:  # a client that is set to it is told of changes in between
            return

        if not self.waiting:
            raise BackendUnavailable(STRAY)

        self.waiting.popleft().bring(answer)

    async def watch(self) -> None:
        """See :meth:`_Part.watch`."""
        while True:
            now = current_time()
            overdue = [reply for reply in self.waiting if reply.is_open and reply.until <= now]

            if overdue:
                await sleep(GRACE)

            silent = [reply for reply in overdue if reply.is_open]

            for reply in silent:
                reply.bring(BackendUnavailable(SILENT))

            if silent:
                raise BackendUnavailable(SILENT)

            await sleep_until(next((reply.until for reply in self.waiting if reply.is_open), now + self.time_limit))

    def end(self) -> None:
        """The connection is lost, which those who wait are told."""
        for reply in self.waiting:
            if reply.is_open:
                reply.bring(BackendUnavailable(LOST))
