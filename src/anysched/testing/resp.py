"""A tiny blocking Redis client, for tests that talk to a server behind the library's back.

It speaks RESP2 over one socket and knows no command, so it serves every version, and needs no package.
"""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit

from attrs import evolve, field, frozen

from anysched.errors import AnySchedError, InvalidURL

__all__ = ["Address", "HungUp", "Reply", "ReplyError", "RespConnection"]

Reply: TypeAlias = "int | str | bytes | list[Reply] | None"


class HungUp(AnySchedError, ConnectionError):
    """The server closed the connection, or said something that is not Redis."""

    def __init__(self, said: bytes = b"") -> None:
        super().__init__(f"the Redis server closed the connection, or does not speak Redis: it said {said[:80]!r}")


class ReplyError(AnySchedError):
    """The server answered with an error. The message is the server's own."""


@frozen(kw_only=True)
class Address:
    """Where a Redis server listens and how to log in.

    Attributes:
        host: name or number; ignored with a `path`.
        port: TCP port; ignored with a `path`.
        path: of the unix socket.
        username: for ``AUTH``, Redis 6 and newer.
        password: for ``AUTH``.
        database: for ``SELECT``.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    path: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0

    @property
    def url(self) -> str:
        """The same as a URL, password included."""
        user, secret = quote(self.username or "", safe=""), quote(self.password or "", safe="")
        login = f"{user}:{secret}@" if user or secret else ""
        if self.path is not None:
            return f"unix://{login}{self.path}?db={self.database}"

        return f"redis://{login}{self.host}:{self.port}/{self.database}"

    def of_database(self, database: int) -> Address:
        """The same server, another database."""
        return evolve(self, database=database)

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Read ``redis://[[user]:password@]host[:port][/database]`` or ``unix://[[user]:password@]path[?db=database]``.

        Raises:
            InvalidURL: it is neither of them. TLS is not spoken here.
        """
        parts = urlsplit(url)
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        database = parse_qs(parts.query).get("db", [parts.path.strip("/") if parts.scheme == "redis" else ""])[0]
        if parts.scheme not in {"redis", "unix"} or not (database or "0").isdecimal():
            raise InvalidURL(
                f"{parts.scheme}://{parts.hostname or ''}{parts.path}", "redis://host:port/0 or unix://path"
            )

        path = Path(unquote(parts.path)) if parts.scheme == "unix" else None
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 6379,
            path=path,
            username=username,
            password=password,
            database=int(database or 0),
        )


class RespConnection:
    """One connection to a Redis server; a context manager that closes it.

    Args:
        address: where to connect to.
        timeout: seconds until a server that does not answer is given up on with :class:`TimeoutError`.
    """

    def __init__(self, address: Address, *, timeout: float = 10.0) -> None:
        self._socket = _connect(address, timeout)
        self._replies: BinaryIO = self._socket.makefile("rb")
        try:
            if address.password is not None:
                self.command("AUTH", *([address.username] if address.username else []), address.password)

            if address.database:
                self.command("SELECT", address.database)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. May be called twice."""
        self._replies.close()
        self._socket.close()

    def command(self, *words: str | bytes | float) -> Reply:
        """Send one command and wait for its reply. Bulk strings come back as bytes, status lines as text.

        Raises:
            ReplyError: the server answered with an error.
            HungUp: the server closed the connection; a :class:`ConnectionError`.
            TimeoutError: it did not answer in time.
        """
        self.send(*words)
        return self.receive()

    def send(self, *words: str | bytes | float) -> None:
        """Send one command without waiting for its reply."""
        encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))

    def receive(self) -> Reply:
        """Wait for one reply. An error within an array is raised too, once the whole array has been read."""
        errors: list[ReplyError] = []
        reply = self._read(errors)
        if errors:
            raise errors[0]

        return reply

    def _read(self, errors: list[ReplyError]) -> Reply:
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise HungUp

        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest.decode()
            case b"-":
                errors.append(ReplyError(rest.decode(errors="replace")))
                return None
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._read_bulk(int(rest))
            case b"*":
                return None if rest == b"-1" else [self._read(errors) for _ in range(int(rest))]
            case _:
                raise HungUp(line)

    def _read_bulk(self, size: int) -> bytes:
        data = self._replies.read(size + 2)
        if len(data) < size + 2:
            raise HungUp

        return data[:-2]


def _connect(address: Address, timeout: float) -> socket.socket:
    if address.path is None:
        return socket.create_connection((address.host, address.port), timeout)

    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(str(address.path))
    except BaseException:
        connection.close()
        raise

    return connection
