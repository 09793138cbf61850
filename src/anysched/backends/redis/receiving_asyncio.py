"""Reading a connection of redis-py's in the step of the event loop in which its bytes arrive.

redis-py reads through a stream: the bytes wake a task, which parses them and wakes whoever waits for the reply. That is
a second turn of the event loop for each reply, and about a third of what a short request costs a client. Here a
protocol takes the place of the stream's on the transport, parses with the same reader (hiredis), and hands each reply
on at once.

A connection that is not as it is expected to be (parsed in Python, say) is left alone, and read as redis-py does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from attrs import define, field

from anysched.backends.redis.link import LOST
from anysched.errors import BackendUnavailable

try:
    import hiredis
except ImportError:
    hiredis = None

__all__ = ["PushNotification", "Receiver", "receive"]

PushNotification: Any = getattr(hiredis, "PushNotification", None)
"""What a server sends that was not asked for; ``None`` if it cannot be told."""

_MOST = 65536
"""Bytes read at once."""


@define(eq=False)
class Receiver(asyncio.BufferedProtocol):
    """Hands on what a connection receives, reply by reply.

    It is read into a buffer that stays: a protocol without one has asyncio ask the system for 256 KiB at every read.

    Args:
        transport: the connection's.
        stream: the protocol that it had; is told when it is lost, since whoever closes it waits for that.
        parser: takes bytes and gives replies.
        nothing: what it gives when there is none.
        take: called with each reply, errors among them. What it raises ends the connection.
        on_end: called when it has ended.
    """

    transport: Any
    stream: Any
    parser: Any
    nothing: Any
    take: Callable[[Any], None]
    on_end: Callable[[], None] = lambda: None
    ended: asyncio.Future[BaseException] = field(factory=lambda: asyncio.get_running_loop().create_future(), init=False)
    """Done when the connection is lost; why."""
    _buffer: memoryview = field(factory=lambda: memoryview(bytearray(_MOST)), init=False)
    _writable: asyncio.Future[None] | None = field(default=None, init=False)
    """While the transport holds as much as it wants to."""

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent, as far as is known."""
        return not self.transport.is_closing()

    def send(self, packed: bytes) -> None:
        """Send a command now."""
        self.transport.write(packed)

    @property
    def is_full(self) -> bool:
        """Whether more was sent than goes out."""
        return self._writable is not None

    async def drain(self) -> None:
        """Wait while it is full."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See :class:`asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        parser, nothing, take = self.parser, self.nothing, self.take

        try:
            parser.feed(self._buffer, 0, nbytes)

            while (reply := parser.gets(False)) is not nothing:
                take(reply)
        except Exception as error:  # noqa: BLE001 - raised again, by whoever waits for the end
            self._end(error)
            self.transport.abort()

    def eof_received(self) -> bool | None:
        """See :class:`asyncio.BufferedProtocol`: the transport closes itself."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        self._end(exc or BackendUnavailable(LOST))
        self.resume_writing()
        self.stream.connection_lost(exc)

    def pause_writing(self) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        self._writable = self.ended.get_loop().create_future()

    def resume_writing(self) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        writable, self._writable = self._writable, None

        if writable is not None and not writable.done():
            writable.set_result(None)

    def _end(self, error: BaseException) -> None:
        if not self.ended.done():
            self.ended.set_result(error)
            self.on_end()


def receive(connection: Any, take: Callable[[Any], None], on_end: Callable[[], None] = lambda: None) -> Receiver | None:
    """Take over from the stream of a connection that has just been made; ``None`` if that cannot be.

    Args:
        connection: redis-py's, connected; nothing may have been sent for which a reply is still to come.
        take: see :class:`Receiver`.
        on_end: likewise.
    """
    try:
        # Private there, and the same from redis-py 5.3 to 8.1.
        transport, stream = connection._writer.transport, connection._reader
        parser = connection._parser._reader
        is_empty = not stream._buffer and not parser.has_data()
        feed, gets = parser.feed, parser.gets
        protocol = transport.get_protocol()
        nothing = gets(False)
    except AttributeError:
        return None

    if not (callable(feed) and is_empty and hasattr(protocol, "connection_lost")):
        return None

    receiver = Receiver(transport, protocol, parser, nothing, take, on_end)
    transport.set_protocol(receiver)
    # The stream may have told it to wait.
    transport.resume_reading()
    return receiver
