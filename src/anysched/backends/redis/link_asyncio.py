"""redis-py under asyncio, as a link uses it.

Two connections are taken from the client's pool and held: one for all calls, one for listening. Calls use the methods
of the connection and not ``Redis.execute_command``, which takes a connection for the time of one round trip, resends
after an error as the client is set to, and costs up to three times as much.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from anyio import move_on_after
from anyio.lowlevel import checkpoint
from attrs import Factory, define
from redis.asyncio import ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from anysched.backends.redis.addresses import Address
from anysched.backends.redis.failures import is_demoted
from anysched.backends.redis.link import (
    CLIENT_NAME,
    CLOSE_LIMIT,
    GRACE,
    LOST,
    QUIET,
    SILENT,
    Argument,
    Client,
    NoScript,
    Wire,
)
from anysched.errors import BackendUnavailable

__all__ = ["AsyncioClient", "open_client"]


def open_client(server: Any, time_limit: float) -> Client:
    """A client for an address, or by one of redis-py's."""
    is_ours = isinstance(server, Address)
    return AsyncioClient(_client_of(server, time_limit) if is_ours else server, is_ours, time_limit)


class _Steady(Connection):
    """Connects again to the address that its host's name led to, without asking a resolver.

    The resolver works in a thread, and a busy event loop starves threads.
    """

    _address: str | None = None

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = cast("dict[str, Any]", dict(super()._connection_arguments()))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - untyped there

        if self._address is not None:
            name, arguments["host"] = arguments["host"], self._address

            if arguments.get("ssl"):
                arguments["server_hostname"] = name

        return arguments

    async def _connect(self) -> None:
        try:
            await super()._connect()
        except BaseException:
            self._address = None
            raise

        writer: Any = self._writer
        self._address = writer.get_extra_info("peername")[0]


class _SteadyTLS(_Steady, SSLConnection):
    pass


def _client_of(address: Address, time_limit: float) -> Any:
    """A client that resends nothing by itself."""
    options: dict[str, Any] = {
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "client_name": address.client_name or CLIENT_NAME,
        "protocol": 2,  # as fast as 3 with hiredis, one round trip less to connect, and nothing is pushed in between
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": time_limit,
    }

    if address.path is not None:
        return Redis.from_pool(ConnectionPool(UnixDomainSocketConnection, path=address.path, **options))

    options |= {"socket_connect_timeout": time_limit, "socket_keepalive": True}
    tls: dict[str, Any] = {}

    if address.tls is not None:
        names = ("cert_reqs", "check_hostname", "ca_certs", "certfile", "keyfile")
        tls = {f"ssl_{name}": getattr(address.tls, name) for name in names}

    if address.service is not None:
        secure = {"ssl": True, **tls} if tls else {}
        share = time_limit / (len(address.hosts) + 1)  # so that the last can still answer when the others do not
        asking = {"socket_timeout": share, "socket_connect_timeout": share, "retry": options["retry"], "protocol": 2}
        asking |= {"username": address.sentinel_username, "password": address.sentinel_password, **secure}
        watchers: Any = Sentinel(address.hosts, sentinel_kwargs=asking, **options, **secure)
        return watchers.master_for(address.service)

    ((host, port),) = address.hosts
    return Redis.from_pool(ConnectionPool(_SteadyTLS if tls else _Steady, host=host, port=port, **options, **tls))


@define(eq=False)
class AsyncioClient:
    """A :class:`~anysched.backends.redis.link.Client` by a ``redis.asyncio.Redis``."""

    redis: Any
    is_ours: bool
    time_limit: float
    failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)

    async def hold(self, ready: Callable[[Wire], None]) -> None:
        """See :meth:`.Client.hold`."""
        async with self._connection() as connection:
            wire = _AsyncioWire(connection, self.time_limit)
            ready(wire)
            await wire.read()

    async def hear(self, channels: Sequence[str], deliver: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        """See :meth:`.Client.hear`."""
        async with self._connection() as connection:
            await connection.send_command("SUBSCRIBE", *channels)
            missing = len(channels)

            while True:
                message = await self._next_message(connection)

                if message[0] == b"message":
                    deliver(message[2])

                elif message[0] == b"subscribe":
                    missing -= 1

                    if missing == 0:
                        ready()

    async def close(self) -> None:
        """See :meth:`.Client.close`."""
        if not self.is_ours:
            await checkpoint()
            return

        pool = self.redis.connection_pool
        watchers = getattr(pool, "sentinel_manager", None)

        with move_on_after(CLOSE_LIMIT, shield=True):
            for each in (pool, *(redis.connection_pool for redis in (watchers.sentinels if watchers else ()))):
                await each.disconnect()

    async def _next_message(self, connection: Any) -> list[Any]:
        """The next message; out of silence, a sign of life is asked for."""
        for limit in (QUIET * self.time_limit, self.time_limit):
            options = {"disable_decoding": True, "push_request": True, "disconnect_on_error": False}
            message = await connection.read_response(timeout=limit, **options)

            if message is not None:
                return cast("list[Any]", message) if isinstance(message, list) else [message]

            await connection.send_command("PING", check_health=False)

        raise BackendUnavailable(SILENT)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        """A connection of the pool's to oneself: connected, and disconnected when it is given back."""
        pool = self.redis.connection_pool

        try:
            async with asyncio.timeout(self.time_limit):
                connection = await pool.get_connection()
        except TimeoutError as error:
            raise BackendUnavailable(SILENT) from error

        limit, connection.socket_timeout = connection.socket_timeout, None

        try:
            yield connection
        finally:
            connection.socket_timeout = limit

            with move_on_after(CLOSE_LIMIT, shield=True):
                try:
                    await connection.disconnect()
                finally:
                    await pool.release(connection)  # noqa: ASYNC102 - it is inside the scope above


@define(eq=False)
class _AsyncioWire:
    """A connection, and those who wait for its replies, in order."""

    connection: Any
    time_limit: float
    waiting: deque[asyncio.Future[Any]] = Factory(deque[asyncio.Future[Any]])
    has_ended: bool = False
    """Nobody reads replies any more."""

    @property
    def is_alive(self) -> bool:
        """See :attr:`.Wire.is_alive`."""
        return self.connection.is_connected and not self.has_ended

    async def exchange(self, words: Sequence[Argument]) -> Any:
        """See :meth:`.Wire.exchange`."""
        connection = self.connection

        if not self.is_alive:  # sending would connect it behind the reader's back
            raise BackendUnavailable(LOST)

        packed = connection.pack_command(*words)
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        timer = loop.call_later(self.time_limit, _expire, reply)
        self.waiting.append(reply)

        try:
            await connection.send_packed_command(packed, check_health=False)
            return await reply
        except NoScriptError as error:
            raise NoScript from error
        except (BackendUnavailable, ResponseError) as error:
            if isinstance(error, BackendUnavailable) or is_demoted(error):
                # Out of step, or of no more use. This does not wait.
                await connection.disconnect(nowait=True)  # noqa: ASYNC120 - nor can it be cancelled

            raise
        finally:
            timer.cancel()
            reply.cancel()

    async def read(self) -> None:
        """Hand each reply to whom it belongs, until the connection is lost, which those who wait are told."""
        read, waiting = self.connection.read_response, self.waiting
        lost: BaseException = BackendUnavailable(LOST)

        try:
            while True:  # noqa: ASYNC913 - several replies may have come at once
                try:
                    answer, error = await read(disable_decoding=True, disconnect_on_error=False), None
                except ResponseError as refusal:
                    answer, error = None, refusal

                reply = waiting.popleft()

                if reply.done():
                    continue

                if error is None:
                    reply.set_result(answer)
                else:
                    reply.set_exception(error)
        except (RedisError, OSError) as failure:
            lost = failure
            raise
        finally:
            self.has_ended = True

            for reply in waiting:
                if not reply.done():
                    reply.set_exception(lost)


def _expire(reply: asyncio.Future[Any], *, for_good: bool = False) -> None:
    if reply.done():
        return

    if for_good:
        reply.set_exception(BackendUnavailable(SILENT))
    else:
        reply.get_loop().call_later(GRACE, partial(_expire, reply, for_good=True))
