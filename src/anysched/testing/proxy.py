"""A network that fails on command: a TCP proxy in front of a server, for either event loop."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Self

import anyio
import anyio.lowlevel
from anyio import AsyncContextManagerMixin
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from attrs import define, field

__all__ = ["FaultyProxy"]

# How a stream says that there is nothing more to be had from it, or no way to send to it.
_CLOSED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
# What SO_LINGER takes to hang up at once, with a reset and without the rest of what was sent: on, for 0 seconds.
_RESET = struct.pack("ii", 1, 0)


@define(eq=False)
class _Link:
    """One client's connection and the one to the server that belongs to it."""

    client: SocketStream
    server: SocketStream
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    # Around what passes the server's replies on. Cancelled alone, it leaves the client with a dead connection.
    replies: anyio.CancelScope = field(factory=anyio.CancelScope)
    # Set once a request was sent whose answer is to be lost: the connection ends with the answer.
    is_losing_reply: bool = False
    # Set once the server's side is gone and the client is not to know.
    is_half_open: bool = False
    # Set once bytes were swallowed: the two ends no longer agree, and a healed network cannot help them.
    is_broken: bool = False


@define(eq=False, kw_only=True)
class FaultyProxy(AsyncContextManagerMixin):
    """A TCP proxy on a port of its own, which passes everything on until it is told to fail.

    Open it with ``async with``; connect clients to :attr:`port` in place of the server's. Faults hold until
    :meth:`heal`. A client and a server never learn of a fault but by its effect.

    Attributes:
        target_host: the server's host.
        target_port: the server's port.
        delay: seconds by which every chunk is late, in both directions. May be changed at any time.
        refuse: hang up on new connections at once.
        blackhole: accept everything and pass nothing on, either way, on old connections and new ones.
    """

    target_port: int
    target_host: str = "127.0.0.1"
    delay: float = 0.0
    refuse: bool = False
    blackhole: bool = False
    _port: int = field(default=0, init=False)
    _links: set[_Link] = field(factory=set["_Link"], init=False)
    _replies_to_drop: int = field(default=0, init=False)
    _dropping_for: bytes = field(default=b"", init=False)
    _accepted: int = field(default=0, init=False)

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        self._port = listener.extra(SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as connections:
            connections.start_soon(listener.serve, self._handle, connections)
            yield self
            connections.cancel_scope.cancel(reason="the proxy is closed")

    @property
    def host(self) -> str:
        """Where the proxy listens."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """Where the proxy listens: another port than the server's. Zero before it is open."""
        return self._port

    @property
    def accepted(self) -> int:
        """How many connections clients have made so far, refused ones included."""
        return self._accepted

    @property
    def connections(self) -> int:
        """How many connections are open at present."""
        return len(self._links)

    def cut(self) -> None:
        """Break all present connections, at both ends. New ones are welcome."""
        for link in self._links:
            link.scope.cancel(reason="cut")

    def drop_replies(self, count: int = 1, *, containing: bytes = b"") -> None:
        """Lose the next replies: the server does what it is asked, and the client never hears of it.

        `count` times a request is passed on, the server's answer is awaited and thrown away, and the connection cut.
        What the client sends in one go, such as a pipeline, counts as one request.

        Args:
            count: how many requests to do this to.
            containing: only to requests in which these bytes occur, such as ``b"EVALSHA"``. Without it the greeting of
                a client that connects anew is a request too.
        """
        self._replies_to_drop = count
        self._dropping_for = containing

    def half_open(self) -> None:
        """Let the present connections die unnoticed by their clients, as behind a router that was restarted.

        The server sees them closed. The clients may go on sending, into nothing.
        """
        for link in self._links:
            link.is_half_open = link.is_broken = True
            link.replies.cancel(reason="half open")

    def heal(self) -> None:
        """End all faults. Connections that have lost something are cut, since nothing can be right on them any more."""
        self.delay, self.refuse, self.blackhole, self._replies_to_drop = 0.0, False, False, 0
        for link in self._links:
            if link.is_broken or link.is_losing_reply:
                link.scope.cancel(reason="broken by an earlier fault")

    async def _handle(self, client: SocketStream) -> None:
        self._accepted += 1
        async with client:
            if self.refuse:
                _reset_at_close(client)
                return

            try:
                server = await anyio.connect_tcp(self.target_host, self.target_port)
            except OSError:
                _reset_at_close(client)
                return

            async with server:
                await self._join(_Link(client, server))

    async def _join(self, link: _Link) -> None:
        self._links.add(link)
        try:
            with link.scope:
                async with anyio.create_task_group() as pumps:
                    pumps.start_soon(self._pass_requests, link, pumps)
                    pumps.start_soon(self._pass_replies, link, pumps)
        finally:
            self._links.remove(link)

        if link.scope.cancelled_caught:
            _reset_at_close(link.client)
            _reset_at_close(link.server)

    async def _pass_requests(self, link: _Link, pumps: TaskGroup) -> None:
        await anyio.lowlevel.checkpoint()
        with suppress(*_CLOSED):
            while True:
                data = await link.client.receive()
                await anyio.sleep(self.delay)
                if self.blackhole or link.is_half_open:
                    link.is_broken = True
                    continue

                if self._replies_to_drop and self._dropping_for in data:
                    self._replies_to_drop -= 1
                    link.is_losing_reply = True

                await link.server.send(data)

        pumps.cancel_scope.cancel(reason="the client is gone")

    async def _pass_replies(self, link: _Link, pumps: TaskGroup) -> None:
        await anyio.lowlevel.checkpoint()
        with suppress(*_CLOSED), link.replies:
            while True:
                data = await link.server.receive()
                await anyio.sleep(self.delay)
                if link.is_losing_reply:
                    link.scope.cancel(reason="a reply is lost")
                elif self.blackhole:
                    link.is_broken = True
                else:
                    await link.client.send(data)

        if link.is_half_open:
            await link.server.aclose()
        else:
            pumps.cancel_scope.cancel(reason="the server is gone")


def _reset_at_close(stream: SocketStream) -> None:
    stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
