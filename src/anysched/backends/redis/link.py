"""The seam between the Redis backend and the client libraries: run a script, wait for hints, map the errors.

Above it nothing knows which library is used. Under asyncio it is redis-py (:mod:`.link_asyncio`), under Trio coredis
(:mod:`.link_trio`); a client that the user hands over decides by its kind.

What holds for every link:

* **One connection carries all calls.** They are written as they come, and the replies come back in the same order, so
  that concurrent calls cost few system calls, and a caller that is cancelled leaves its reply to be thrown away in its
  turn. Hence nothing that blocks on the server may be sent over it.
* **Nothing is sent twice** by a link. What was on the wire when the connection was lost has an unknown outcome, and
  raises :exc:`~anysched.errors.BackendUnavailable`; the next call makes a new connection.
* **Every wait has a time limit**, for connecting and for each reply; a connection that failed it is dropped.
* **A server that has become a replica is left**, by calls and by listeners, and its name is looked up anew: it may stay
  up and take connections for as long as it likes, while the name leads to the new master.
* **Replies are raw**: ``bytes``, ``int``, ``list`` or ``None``, whatever protocol and decoding a client is set to.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol, cast

from anyio import TASK_STATUS_IGNORED, CancelScope, Event
from anyio.abc import TaskStatus
from anyio.lowlevel import checkpoint, current_token
from attrs import define, field, frozen

from anysched.backends.redis.addresses import Address
from anysched.backends.redis.failures import explain, is_demoted
from anysched.errors import BackendError, BackendUnavailable, InvalidOption, MissingExtra, NotOpen

__all__ = [
    "CLIENT_NAME",
    "CLOSE_LIMIT",
    "GRACE",
    "LOST",
    "QUIET",
    "SILENT",
    "STRAY",
    "TIME_LIMIT",
    "Argument",
    "Client",
    "ClientLink",
    "Library",
    "Link",
    "NoScript",
    "Script",
    "Wire",
    "library_of",
    "open_link",
]

CLIENT_NAME = "anysched"
TIME_LIMIT = 3.75  # seconds; a quarter of the default lease, so that a lost command leaves time for another
CLOSE_LIMIT = 1.0  # seconds that saying goodbye to a server may take
GRACE = 0.1  # seconds more, in which an event loop that was blocked can read the reply that has come meanwhile

LOST = "Redis cannot be reached: the connection was lost"
_CLOSED = "Redis cannot be reached: our connection has been closed"
_LEFT = "Redis cannot answer for now: the server has become a replica"
QUIET = 3.0
"""So many time limits may pass on a subscription without a word before a sign of life is asked for.

A hint lost on a dead connection is made up for by those who look again by themselves; asking more often would be most
of what an idle node sends.
"""

SILENT = "Redis cannot be reached: it has not answered within the time limit"
STRAY = "Redis cannot be understood: a reply came that nobody waits for"

Argument = bytes | str | int
Library = Literal["redis", "coredis"]

_INSTALL: dict[Library, str] = {"redis": "anysched[redis]", "coredis": "anysched[trio]"}


@frozen
class Script:
    """A Lua script: ``Script(name, text)``; ``sha`` is what EVALSHA calls it by."""

    name: str
    text: str = field(repr=False)
    sha: str = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Link(Protocol):
    """One program's connections to one Redis.

    Raises, from every operation:
        BackendUnavailable: it cannot be reached or cannot answer for now. The outcome is unknown; repeat it.
        BackendRefused: it will not serve us. Repeating is of no use.
        BackendError: the server answered with any other error, or what was to be sent could not be encoded.
        NotOpen: ``run`` is not running.
    """

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Connect, and hold the connection until cancelled; ``started()`` once the server has let us in.

        A connection that is lost later is made anew when a call needs it, and ends nothing. Closing takes a bounded
        time. What the user handed over stays open.
        """
        ...

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script, loading it where the server does not have it."""
        ...

    async def command(self, *words: Argument) -> Any:
        """Send one plain command that does not block. A map in the reply is flattened, as RESP2 has it."""
        ...

    async def listen(
        self,
        channels: Sequence[str],
        deliver: Callable[[bytes], None],
        *,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Call ``deliver`` with each message of these channels until cancelled, on a connection of its own.

        ``started()`` once the subscription stands. ``deliver`` is synchronous and quick. A connection that has fallen
        silent is asked for a sign of life, and counts as lost if there is none.

        Raises:
            BackendUnavailable: the connection is lost, and messages may be; or the server has become a replica.
        """
        ...


class Wire(Protocol):
    """One connection, by one library, that many callers share."""

    @property
    def is_alive(self) -> bool:
        """Whether it can be used, as far as is known."""
        ...

    async def exchange(self, words: Sequence[Argument]) -> Any:
        """Send one request and wait for its reply; only on a wire that is alive.

        Raises what the library raises; :exc:`NoScript` for NOSCRIPT. What a cancelled caller leaves behind disturbs
        nobody. A wire that cannot be relied on any more drops itself.
        """
        ...


class Client(Protocol):
    """What one library does for a link. It maps no errors, and limits the time of everything but hearing."""

    failures: tuple[type[Exception], ...]
    """What its methods raise when they fail."""

    async def hold(self, ready: Callable[[Wire], None]) -> None:
        """Connect, call ``ready``, and return when the connection is lost."""
        ...

    async def hear(self, channels: Sequence[str], deliver: Callable[[bytes], None], ready: Callable[[], None]) -> None:
        """Subscribe, call ``ready``, and deliver until the connection is lost."""
        ...

    def forget(self) -> None:
        """Look up anew where the server is, the next time: the one that was there has become a replica."""
        ...

    async def close(self) -> None:
        """Close what the client itself has opened."""
        ...


class NoScript(Exception):
    """The server does not have the script."""


@define(eq=False)
class ClientLink:
    """A :class:`Link` by a client library."""

    _client: Client
    _wire: Wire | None = field(default=None, init=False)
    _running: bool = field(default=False, init=False)
    _wanted: Event = field(factory=Event, init=False)
    """Set when a caller needs a connection and there is none."""
    _decided: Event = field(factory=Event, init=False)
    """Set when there is a connection after that, or a failure."""
    _failure: BackendError = field(factory=lambda: BackendUnavailable(LOST), init=False)
    _listening: set[CancelScope] = field(factory=set[CancelScope], init=False)
    """One around each listener, from before it connects."""

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:  # noqa: ASYNC128 - _keep calls it
        """See :meth:`Link.run`."""
        self._running = True

        try:
            if (failure := await self._keep(task_status.started)) is not None:
                raise failure

            while True:
                await self._wanted.wait()

                if (failure := await self._keep(lambda: None)) is not None:
                    self._decide(failure)
        finally:
            self._running = False
            self._forget()
            self._decide(BackendUnavailable(_CLOSED))
            await self._client.close()  # noqa: ASYNC102 - it shields itself, with a limit

    async def _keep(self, connected: Callable[[], None]) -> BackendError | None:
        """Connect, and hold the connection until it is lost; or tell why there is none."""
        is_connected = False

        def ready(wire: Wire) -> None:
            nonlocal is_connected
            is_connected = True
            self._wire = wire
            self._decided.set()
            connected()

        try:
            await self._client.hold(ready)
        except self._client.failures as error:
            # A library may have put this in the place of our cancellation, which then comes first.
            await checkpoint()  # noqa: ASYNC120 - that is why

            if not is_connected:
                return _explained(error)

        self._forget()
        return None

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """See :meth:`Link.call`."""
        try:
            return await self._exchange(("EVALSHA", script.sha, len(keys), *keys, *args))
        except NoScript:
            return await self._exchange(("EVAL", script.text, len(keys), *keys, *args))

    async def command(self, *words: Argument) -> Any:
        """See :meth:`Link.command`."""
        return _flat(await self._exchange(words))

    async def listen(  # noqa: ASYNC128 - the client calls started()
        self,
        channels: Sequence[str],
        deliver: Callable[[bytes], None],
        *,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """See :meth:`Link.listen`."""
        with CancelScope() as scope:
            self._listening.add(scope)

            try:
                await self._client.hear(channels, deliver, task_status.started)
            except self._client.failures as error:
                await checkpoint()  # noqa: ASYNC120 - as above: a cancellation comes first
                failure = _explained(error)
                raise failure from failure.__cause__
            finally:
                self._listening.discard(scope)

        raise BackendUnavailable(_LEFT if scope.cancelled_caught else LOST)

    async def _exchange(self, words: Sequence[Argument]) -> Any:
        wire = self._wire

        if wire is None or not wire.is_alive:
            wire = await self._reconnected()

        try:
            return await wire.exchange(words)
        except BackendError:
            raise
        except UnicodeEncodeError as error:
            raise BackendError(f"a text cannot be sent: {error}") from error
        except self._client.failures as error:
            if is_demoted(error):
                self._leave()

            raise explain(error) from error

    async def _reconnected(self) -> Wire:
        if not self._running:
            raise NotOpen("Redis")

        self._forget()
        self._wanted.set()
        await self._decided.wait()

        if self._wire is None:
            raise type(self._failure)(*self._failure.args) from self._failure

        if not self._wire.is_alive:
            raise BackendUnavailable(LOST)

        return self._wire

    def _leave(self) -> None:
        """The server has become a replica. The wire drops itself; a listener would hear only what is passed on."""
        self._client.forget()

        for scope in self._listening:
            scope.cancel(reason="the server has become a replica")

    def _forget(self) -> None:
        """The connection is lost, which a caller may notice before its keeper does."""
        if self._wire is not None:
            self._wire = None
            self._wanted, self._decided = Event(), Event()

    def _decide(self, failure: BackendError) -> None:
        """Tell those who wait that there will be no connection; who comes later asks anew."""
        self._failure = failure
        self._decided.set()
        self._wanted, self._decided = Event(), Event()


def _explained(error: Exception) -> BackendError:
    """Our error, which keeps the library's as its cause."""
    failure = explain(error)

    if failure is not error:
        failure.__cause__ = error

    return failure


def library_of(client: object) -> Library:
    """Which library a client belongs to that the user handed over.

    Raises:
        InvalidOption: none that can be used.
    """
    if isinstance(client, str):  # not shown: a password may be in it
        raise InvalidOption("client", "...", "a client object; RedisBackend.from_url(...) takes an address")

    modules = [kind.__module__ for kind in type(client).__mro__]

    if any(name.startswith("redis.asyncio.client") for name in modules):
        return "redis"

    if any(name.startswith("coredis.client.basic") for name in modules):
        return "coredis"

    raise InvalidOption("client", type(client).__qualname__, "a redis.asyncio.Redis, or a coredis.Redis")


def open_link(server: Address | object, *, time_limit: float = TIME_LIMIT) -> Link:
    """The link to a server, by the event loop that is running. Nothing is connected yet.

    Args:
        server: an address, for which a client is made; or a client, which is used and left open.
        time_limit: seconds that connecting, and each reply, may take.

    Raises:
        InvalidOption: the client cannot be used, or not on this loop; the limit is not positive.
        MissingExtra: the client library is not installed.
    """
    if not 0 < time_limit < math.inf:
        raise InvalidOption("time_limit", time_limit, "seconds, more than 0")

    on_trio = type(current_token().native_token).__module__.partition(".")[0] == "trio"

    if isinstance(server, Address):
        library: Library = "coredis" if on_trio else "redis"
    else:
        library = library_of(server)

    if on_trio and library == "redis":
        raise InvalidOption("client", type(server).__qualname__, "a coredis.Redis: redis-py does not run on Trio")

    try:
        import_module(library)
    except ImportError as error:
        raise MissingExtra(library, _INSTALL[library]) from error

    adapter = import_module("anysched.backends.redis." + ("link_trio" if library == "coredis" else "link_asyncio"))
    return ClientLink(adapter.open_client(server, time_limit))


def _flat(reply: Any) -> Any:
    """The reply in the types of RESP2: a map becomes a list of keys and values."""
    if isinstance(reply, dict):
        pairs = cast("dict[Any, Any]", reply)
        return [_flat(part) for pair in pairs.items() for part in pair]

    return reply
