"""Reading and writing a connection of coredis' in the task that has something to read or to write.

coredis writes in one task, reads in a second, and wakes whoever waits for the reply through an event inside two scopes:
for a short request that is most of what it costs a client. Here a stream takes the place of the one that a connection
makes for itself. Until the server has greeted, it passes everything on, so that coredis connects, authenticates and
finds the master as ever. From then on a request goes to the socket at once, and what comes is parsed, with the same
parser, and handed on where it is read: by whoever waits for a reply, since to be woken by another task takes one more
turn of the event loop; by coredis' reader when nobody has asked for anything for a while, so that the end of a
connection on which nothing happens is noticed; and by that one too when the one who read has gone, and others wait.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from anyio import BrokenResourceError, EndOfStream, Event, move_on_after, notify_closing, wait_readable
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from attrs import define, field
from coredis.constants.resp import DataType
from coredis.parser import NotEnoughData, Parser

__all__ = ["Receiver"]

_MOST = 65536
"""Bytes read at once."""

_LULL = 0.1
"""Seconds without a request after which coredis' reader reads."""


@define(eq=False)
class Receiver(ByteStream):
    """What a connection of coredis' takes for its stream.

    Args:
        connect: makes the stream.
        take: called with each reply, errors among them, once the server has greeted, and whether it was pushed, which
            is no reply to anything. What it raises ends the connection.
    """

    _connect: Callable[[], Awaitable[ByteStream]]
    take: Callable[[Any, bool], None]
    has_greeted: bool = field(default=False, init=False)
    """From now on what comes is ours."""
    _stream: ByteStream = field(init=False)
    _socket: socket.socket | None = field(default=None, init=False)
    """Is read and written at once, if nothing is between it and the stream."""
    _unsent: bytearray = field(factory=bytearray, init=False)
    _is_sending: bool = field(default=False, init=False)
    """:meth:`send_rest` is at it: what comes has to wait for its turn."""
    _has_rest: Event = field(factory=Event, init=False)
    _parser: Parser = field(factory=Parser, init=False)
    is_awaited: Callable[[], bool] = field(default=lambda: False, init=False)
    """Whether a reply is to come."""
    _is_read: bool = field(default=False, init=False)
    """Somebody waits for the socket, which only one can."""
    _was_used: bool = field(default=False, init=False)
    """Something was asked for since coredis' reader looked."""
    _left: Event = field(factory=Event, init=False)
    """Set when coredis' reader has to look now."""
    _failure: Exception | None = field(default=None, init=False)
    """What somebody else came upon who read: coredis' reader ends the connection by it."""

    @classmethod
    def of(cls, connection: Any, take: Callable[[Any, bool], None]) -> Receiver:
        """The stream that a connection will have once it is connected."""
        receiver = cls(connection._connect, take)
        connection._connect = receiver._connected  # what coredis has a subclass define
        return receiver

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent, as far as is known. While nobody reads, somebody has to look."""
        if self._failure is None and self._socket is not None and not self._is_read and _has_ended(self._socket):
            self._failure = EndOfStream()
            self._left.set()

        return self._failure is None

    async def _connected(self) -> Receiver:
        self._stream = await self._connect()
        sock = self._stream.extra(SocketAttribute.raw_socket, None)

        # TLS is between; and asyncio does not give that of a TCP connection away.
        if isinstance(self._stream, SocketStream) and isinstance(sock, socket.socket):
            self._socket = sock

        return self

    def write(self, data: bytes) -> None:
        """Send now as much as goes, and the rest as soon as it does."""
        if self._socket is not None and not self._is_sending and not self._unsent:
            try:
                sent = self._socket.send(data)
            except OSError:
                sent = 0  # it is full; or it is lost, which is seen where the rest is sent

            if sent == len(data):
                return

            data = data[sent:]

        self._unsent += data
        self._has_rest.set()

    async def send_rest(self) -> NoReturn:
        """Send what was not sent at once, for ever."""
        while True:
            await self._has_rest.wait()
            self._has_rest = Event()
            self._is_sending = True

            while self._unsent:
                data, self._unsent = bytes(self._unsent), bytearray()
                await self._stream.send(data)

            self._is_sending = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """See :class:`anyio.TypedAttributeProvider`."""
        return self._stream.extra_attributes  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped there

    async def receive(self, max_bytes: int = _MOST) -> bytes:
        """Read, for coredis; what has come since the greeting is handed on instead."""
        while True:
            if self.has_greeted:
                await self._lull()

            data = await (self._stream.receive(max_bytes) if self._socket is None else self._read(self._socket))

            if not self.has_greeted:
                return data

            self._hand_on(data)

    async def read_until(self, came: Event) -> None:
        """Read in this task until that has come; if another reads, it is left to that one, and waited for."""
        self._was_used = True

        if self._socket is not None and not self._is_read:
            try:
                while not came.is_set():
                    self._hand_on(await self._read(self._socket))
            except Exception as error:  # noqa: BLE001 - raised again, where it ends the connection
                self._failure = error
            finally:
                if self._failure is not None or self.is_awaited():
                    self._left.set()

        if not came.is_set():
            await came.wait()

    async def _read(self, sock: socket.socket) -> bytes:
        self._is_read = True

        try:
            await wait_readable(sock)
        finally:
            self._is_read = False

        return _received(sock)

    async def _lull(self) -> None:
        """Return when nobody else reads, and either somebody waits or nothing was asked for during a while."""
        while self._socket is not None and (self._is_read or (self._was_used and not self.is_awaited())):
            self._was_used, self._left = False, Event()

            with move_on_after(_LULL):
                await self._left.wait()

            if self._failure is not None:
                raise self._failure

    def _hand_on(self, data: bytes) -> None:
        parser, take = self._parser, self.take
        parser.feed(data)

        while not isinstance(answer := parser.parse(), NotEnoughData):
            take(answer[1], answer[0] is DataType.PUSH)

    async def send(self, item: bytes) -> None:
        """Pass on what the connection says before the greeting."""
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """See :class:`anyio.abc.ByteStream`."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """See :class:`anyio.abc.AsyncResource`."""
        if self._socket is not None and self._socket.fileno() >= 0:
            notify_closing(self._socket)  # whoever waits for it

        await self._stream.aclose()


def _received(sock: socket.socket) -> bytes:
    """What is there; nothing if it was a false alarm."""
    try:
        data = sock.recv(_MOST)
    except BlockingIOError:
        return b""
    except OSError as error:
        raise BrokenResourceError from error

    if not data:
        raise EndOfStream

    return data


def _has_ended(sock: socket.socket) -> bool:
    """Whether the peer has closed it, or it is lost."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
