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
from typing import Any, NoReturn, cast

from anyio import move_on_after
from anyio.lowlevel import checkpoint
from attrs import Factory, define, field
from redis.asyncio import ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
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
    STRAY,
    Argument,
    Client,
    NoScript,
    Wire,
)
from anysched.backends.redis.packing import pack
from anysched.backends.redis.receiving_asyncio import PushNotification, Receiver, receive
from anysched.errors import BackendUnavailable

__all__ = ["AsyncioClient", "open_client"]


def open_client(server: Any, time_limit: float) -> Client:
    """A client for an address, or by one of redis-py's."""
    is_ours, place = isinstance(server, Address), _Place()
    return AsyncioClient(_client_of(server, time_limit, place) if is_ours else server, is_ours, time_limit, place)


@define(eq=False)
class _Place:
    """Where all connections of a client go."""

    address: str | None = None
    """What the host's name led to; ``None``: a resolver has to be asked."""


class _Steady(Connection):
    """Connects again to the address that its host's name led to, without asking a resolver, until that is forgotten.

    The resolver works in a thread, and a busy event loop starves threads.
    """

    def __init__(self, *, place: _Place, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType] - untyped there
        self._place = place

    def _connection_arguments(self) -> Mapping[str, Any]:
        arguments = cast("dict[str, Any]", dict(super()._connection_arguments()))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - untyped there

        if self._place.address is not None:
            name, arguments["host"] = arguments["host"], self._place.address

            if arguments.get("ssl"):
                arguments["server_hostname"] = name

        return arguments

    async def _connect(self) -> None:
        try:
            await super()._connect()
        except BaseException:
            self._place.address = None
            raise

        writer: Any = self._writer
        self._place.address = writer.get_extra_info("peername")[0]


class _SteadyTLS(_Steady, SSLConnection):
    pass


def _client_of(address: Address, time_limit: float, place: _Place) -> Any:
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
    options |= {"host": host, "port": port, "place": place, **tls}
    return Redis.from_pool(ConnectionPool(_SteadyTLS if tls else _Steady, **options))


@define(eq=False)
class AsyncioClient:
    """A :class:`~anysched.backends.redis.link.Client` by a ``redis.asyncio.Redis``."""

    redis: Any
    is_ours: bool
    time_limit: float
    place: _Place
    failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)

    async def hold(self, ready: Callable[[Wire], None]) -> None:
        """See :meth:`.Client.hold`."""
        async with self._connection() as connection:
            wire = _AsyncioWire(connection, self.time_limit)
            ready(wire)
            await wire.read()

    async def hear(self, channels: Sequence[str], deliver: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        """See :meth:`.Client.hear`."""
        missing = len(channels)

        def take(message: Any) -> None:
            nonlocal missing

            if isinstance(message, Exception):
                raise message

            match message:
                case [b"message", _, text]:
                    deliver(text)
                case [b"subscribe", *_]:
                    missing -= 1

                    if missing == 0:
                        ready()
                case _:
                    pass

        async with self._connection() as connection:
            messages = _Messages()
            receiver = receive(connection, messages.add, messages.stir)

            if receiver is not None:
                receiver.send(pack(("SUBSCRIBE", *channels)))
                await self._hear_by(receiver, messages, take)

            await connection.send_command("SUBSCRIBE", *channels)

            while True:
                take(await self._next_message(connection))

    def forget(self) -> None:
        """See :meth:`.Client.forget`."""
        self.place.address = None

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

    async def _hear_by(self, receiver: Receiver, messages: _Messages, take: Callable[[Any], None]) -> NoReturn:
        """Take messages until the connection is lost; out of silence, a sign of life is asked for."""
        now = asyncio.get_running_loop().time
        asked_at: float | None = None

        while True:
            while messages.line:
                take(messages.line.popleft())

            if receiver.ended.done():
                raise receiver.ended.result()

            if asked_at is not None and messages.heard_at >= asked_at:
                asked_at = None

            until = messages.heard_at + QUIET * self.time_limit if asked_at is None else asked_at + self.time_limit

            if now() < until:
                await messages.wait_until(until)
            elif asked_at is not None:
                raise BackendUnavailable(SILENT)
            else:
                asked_at = now()
                receiver.send(pack(("PING",)))

    async def _next_message(self, connection: Any) -> Any:
        """The next message; out of silence, a sign of life is asked for."""
        for limit in (QUIET * self.time_limit, self.time_limit):
            options = {"disable_decoding": True, "push_request": True, "disconnect_on_error": False}
            message = await connection.read_response(timeout=limit, **options)

            if message is not None:
                return message

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
class _Messages:
    """What has come and was not taken yet. It is taken in a task, for which it waits here."""

    line: deque[Any] = Factory(deque[Any])
    heard_at: float = Factory(lambda: asyncio.get_running_loop().time())
    """On the event loop's clock: when something came."""
    _stirred: asyncio.Event = Factory(asyncio.Event)

    def add(self, message: Any) -> None:
        """One has come."""
        self.heard_at = asyncio.get_running_loop().time()
        self.line.append(message)
        self.stir()

    def stir(self) -> None:
        """Have a look taken."""
        self._stirred.set()

    async def wait_until(self, instant: float) -> None:
        """Wait until stirred, or until then on the event loop's clock."""
        self._stirred.clear()
        timer = asyncio.get_running_loop().call_at(instant, self._stirred.set)

        try:
            await self._stirred.wait()
        finally:
            timer.cancel()


@define(eq=False)
class _AsyncioWire:
    """A connection, and those who wait for its replies, in order."""

    connection: Any
    time_limit: float
    waiting: deque[_Waiting] = Factory(deque["_Waiting"])
    receiver: Receiver | None = field(default=None, init=False)
    """Reads the replies, unless the connection must be read by :meth:`_read_on`."""
    has_ended: bool = False
    """Nobody reads replies any more."""
    _is_watched: bool = field(default=False, init=False)
    """A timer is set for the oldest of those who wait."""

    def __attrs_post_init__(self) -> None:
        self.receiver = receive(self.connection, self._hand_on)

    @property
    def is_alive(self) -> bool:
        """See :attr:`.Wire.is_alive`."""
        if self.has_ended:
            return False

        return self.connection.is_connected if self.receiver is None else self.receiver.is_open

    async def exchange(self, words: Sequence[Argument]) -> Any:
        """See :meth:`.Wire.exchange`."""
        connection, receiver = self.connection, self.receiver
        packed = b""

        if receiver is None:  # a client may be set to another encoding
            packed = connection.pack_command(*(word.encode() if isinstance(word, str) else word for word in words))
        else:
            receiver.send(pack(words))  # first, so that the server is at it during the rest

        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self.waiting.append((reply, loop.time() + self.time_limit))

        if not self._is_watched:
            self._watch(loop)

        try:
            if receiver is None:
                await connection.send_packed_command(packed, check_health=False)
            elif receiver.is_full:
                await receiver.drain()

            return await reply
        except NoScriptError as error:
            raise NoScript from error
        except (BackendUnavailable, ResponseError) as error:
            if isinstance(error, BackendUnavailable) or is_demoted(error):
                # Out of step, or of no more use. This does not wait.
                await connection.disconnect(nowait=True)  # noqa: ASYNC120 - nor can it be cancelled

            raise
        finally:
            reply.cancel()

    async def read(self) -> None:
        """Hand each reply to whom it belongs, until the connection is lost, which those who wait are told."""
        lost: BaseException = BackendUnavailable(LOST)

        try:
            if self.receiver is None:
                await self._read_on()
            else:
                raise await asyncio.shield(self.receiver.ended)
        except (RedisError, OSError) as failure:
            lost = failure
            raise
        finally:
            self.has_ended = True
            is_ours = isinstance(lost, BackendUnavailable)

            for reply, _ in self.waiting:
                if not reply.done():
                    # One for each, as explaining makes of a library's.
                    reply.set_exception(BackendUnavailable(*lost.args) if is_ours else lost)

    async def _read_on(self) -> NoReturn:
        read = self.connection.read_response

        while True:  # noqa: ASYNC913 - several replies may have come at once
            try:
                answer = await read(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as refusal:
                answer = refusal

            self._hand_on(answer)

    def _hand_on(self, answer: Any) -> None:
        """Give an answer to whoever has waited longest."""
        if isinstance(answer, RedisConnectionError):
            raise answer

        # What was not asked for: a client that is set to it is told of changes in between.
        if PushNotification is not None and isinstance(answer, PushNotification):
            return

        if not self.waiting:
            raise BackendUnavailable(STRAY)

        reply, _ = self.waiting.popleft()

        if reply.done():
            return

        if isinstance(answer, Exception):
            reply.set_exception(answer)
        else:
            reply.set_result(answer)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set a timer for the one who has waited longest, if anybody waits."""
        at = next((until for reply, until in self.waiting if not reply.done()), None)
        self._is_watched = at is not None

        if at is not None:
            loop.call_at(at, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up on those whose time is up: after a grace, in which what has come meanwhile is read."""
        overdue = [reply for reply, until in self.waiting if until <= loop.time() and not reply.done()]

        if overdue:
            loop.call_later(GRACE, self._give_up, overdue, loop)
        else:
            self._watch(loop)

    def _give_up(self, overdue: Sequence[asyncio.Future[Any]], loop: asyncio.AbstractEventLoop) -> None:
        for reply in overdue:
            if not reply.done():
                reply.set_exception(BackendUnavailable(SILENT))

        self._watch(loop)


_Waiting = tuple["asyncio.Future[Any]", float]
"""A reply that is to come, and until when on the event loop's clock."""
