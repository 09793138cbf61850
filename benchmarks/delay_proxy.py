"""A TCP proxy that adds a fixed time to each direction, as a script: `python delay_proxy.py PORT TARGET SECONDS`.

One thread and `select`, whose time limits are finer than the whole milliseconds of `epoll`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections import deque

CHUNK = 256 * 1024


class Pipe:
    """One direction of a connection: what was read, and when it may be passed on."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.held: deque[tuple[float, bytes]] = deque()
        self.blocked = False

    def take(self, delay: float) -> bool:
        """Read once; false when the connection has ended."""
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False

        self.held.append((time.monotonic() + delay, data))
        return bool(data)

    def pass_on(self) -> bool:
        """Write what is due; false when the connection has ended."""
        self.blocked = False

        while self.held and self.held[0][0] <= time.monotonic():
            due, data = self.held.popleft()

            try:
                sent = self.target.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False

            if sent < len(data):
                self.held.appendleft((due, data[sent:]))
                self.blocked = True
                return True

        return True


class Proxy:
    def __init__(self, listener: socket.socket, target: tuple[str, int], delay: float) -> None:
        self.listener = listener
        self.target = target
        self.delay = delay
        self.pipes: dict[socket.socket, Pipe] = {}  # by source

    def accept(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(self.target)

        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        self.pipes[near] = Pipe(near, far)
        self.pipes[far] = Pipe(far, near)

    def drop(self, pipe: Pipe) -> None:
        for end in (pipe.source, pipe.target):
            self.pipes.pop(end, None)

            with contextlib.suppress(OSError):
                end.close()

    def step(self) -> None:
        pipes = list(self.pipes.values())
        dues = [pipe.held[0][0] for pipe in pipes if pipe.held and not pipe.blocked]
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else 1.0
        blocked = [pipe.target for pipe in pipes if pipe.blocked]
        readable, _, _ = select.select([self.listener, *self.pipes], blocked, [], timeout)

        for source in readable:
            if source is self.listener:
                self.accept()
            elif (pipe := self.pipes.get(source)) and not pipe.take(self.delay):
                self.drop(pipe)

        for pipe in pipes:
            if pipe.held and pipe.source in self.pipes and not pipe.pass_on():
                self.drop(pipe)


def main() -> None:
    port, target, delay = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    proxy = Proxy(socket.create_server(("127.0.0.1", port), backlog=512), ("127.0.0.1", target), delay)
    print("ready", flush=True)

    while True:
        proxy.step()


if __name__ == "__main__":
    main()
