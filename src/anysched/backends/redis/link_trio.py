"""coredis under Trio, as a link uses it; it runs on asyncio just as well.

Its connections are used, and its pool is not: that one loses a place whenever a connection dies in use or is cancelled
while it is being made, until none is left, and it dies with the task that has entered it. A connection serves many
callers at once by itself. A client of the user's gives the kind of connection, the place, credentials and Sentinels.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    create_task_group,
    current_time,
    fail_after,
    move_on_after,
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
from anysched.backends.redis.link import CLIENT_NAME, GRACE, QUIET, SILENT, Argument, Client, NoScript, Wire
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
        options = {**pool.connection_kwargs, "decode_responses": False, "noreply": False}

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
    """Connects again to the address that its host's name led to, without asking a resolver.

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

    def _keep(self, connection: Any) -> None:
        self._address = connection.stream.extra(SocketAttribute.remote_address)[0]


@frozen
class _Ready:
    """What a connection takes for the status of the task that starts it."""

    started: Callable[[], None]


@define(eq=False, kw_only=True)
class TrioClient:
    """A :class:`~anysched.backends.redis.link.Client` by connections of coredis."""

    make: Make
    time_limit: float
    failures: tuple[type[Exception], ...] = _FAILURES

    async def hold(self, ready: Callable[[Wire], None]) -> None:
        """See :meth:`.Client.hold`."""
        with CancelScope(deadline=current_time() + self.time_limit) as scope:
            connection = await self.make()

            def connected() -> None:
                scope.deadline = math.inf
                ready(_TrioWire(connection, self.time_limit))

            try:
                await connection.run(task_status=_Ready(connected))
            finally:
                _close_streams(connection)

        if scope.cancelled_caught:
            raise BackendUnavailable(SILENT)

    async def hear(self, channels: Sequence[str], deliver: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        """See :meth:`.Client.hear`."""
        with fail_after(self.time_limit):
            connection = await self.make()

        async with _connected(connection, self.time_limit):
            connection.send_command(b"SUBSCRIBE", *channels)
            missing = len(channels)

            def take(message: list[Any]) -> None:
                nonlocal missing

                if message[0] == b"message":
                    deliver(message[2])

                elif message[0] == b"subscribe":
                    missing -= 1

                    if missing == 0:
                        ready()

            while True:
                await self._hear_until_silence(connection, take)
                await connection.create_request(b"PING", decode=False, timeout=self.time_limit)

    async def close(self) -> None:
        """See :meth:`.Client.close`. There is nothing left."""
        await checkpoint()

    async def _hear_until_silence(self, connection: Any, take: Callable[[list[Any]], None]) -> None:
        async with aclosing(connection.push_messages) as messages:
            limit = QUIET * self.time_limit

            with move_on_after(limit) as silence:
                async for message in messages:
                    take(message)
                    silence.deadline = current_time() + limit


@frozen
class _TrioWire:
    """A connection of coredis', which sorts replies by itself, and throws those away that nobody waits for."""

    connection: Any
    time_limit: float

    @property
    def is_alive(self) -> bool:
        """See :attr:`.Wire.is_alive`."""
        return self.connection.usable

    async def exchange(self, words: Sequence[Argument]) -> Any:
        """See :meth:`.Wire.exchange`."""
        packed = [word if isinstance(word, bytes) else str(word).encode() for word in words]

        try:
            request = self.connection.create_request(*packed, decode=False, timeout=math.inf)

            for limit in (self.time_limit, GRACE):
                with move_on_after(limit):
                    return await request

            self.connection.invalidate("no answer within the time limit")
            raise BackendUnavailable(SILENT)
        except NoScriptError as error:
            raise NoScript from error
        except RedisError as error:
            if is_demoted(error):
                self.connection.invalidate("the server has become a replica")

            raise
