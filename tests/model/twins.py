"""Two backends of one kind of promise, memory and a real Redis, that get the same commands at the same instants.

After each command the answers are compared, the hints that went out, all that the interface shows, and the pictures of
what is stored; then the laws are asked. Nothing is normalised but what the interface leaves open:

* a watched run's end may be told to more inboxes than asked (Redis remembers one watcher by name, of several none);
* the order of a listing is compared only where both promise the same (see :data:`LISTED_ALIKE`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint
from attrs import Factory, define, field, frozen

from anysched.backends import Backend, Corrupt, EntryRecord, Hint, NodeRecord, QueueRecord, RunRecord, Totals
from anysched.backends.memory import MemoryBackend
from anysched.backends.redis.addresses import parse_address
from anysched.backends.redis.wire import decode_hints
from anysched.clock import Clock, clock_in_force
from anysched.run import RunStatus
from anysched.testing.resp import Address, RespConnection

from .clockwork import Edit, SteppedRedis
from .laws import check_laws
from .pictures import DUMP, Picture, differences, picture_of_memory, picture_of_redis

__all__ = ["COMMAND_MICROS", "Ground", "Shown", "Twins", "ground"]

Call = Callable[[Backend], Awaitable[Any]]

START = 1_800_000_000_000_000
COMMAND_MICROS = 100
"""What a command takes: ten of them share a millisecond, and no two an instant."""

LISTED_ALIKE = ("running", "waiting", "succeeded", "failed", "cancelled", "expired")
PREFIX = "{model}:"

Hints = dict[str, set[tuple[str, str]]]
"""By kind: inbox (``"*"``: all) and name."""


@define(eq=False)
class Shown:
    """What the interface shows of a backend at one instant."""

    runs: dict[str, RunRecord]
    entries: dict[str, EntryRecord]
    nodes: list[NodeRecord]
    queues: list[QueueRecord]
    totals: Totals
    found: dict[str, str | None]
    """By key."""


@define(eq=False)
class Ground:
    """What outlives a history: the loop, and the connections."""

    portal: BlockingPortal
    redis: SteppedRedis
    own: RespConnection
    hears: RespConnection
    figures: Counter[str] = field(factory=Counter[str], init=False)
    """How many histories there were, commands in them, and answers that were compared; and each operation's share."""
    handed: list[Hint] = field(factory=list[Hint], init=False)
    """Hints that brought a run, since they were last looked at."""
    _marks: int = field(default=0, init=False)

    def heard(self) -> Hints:
        """What was published since this was last asked."""
        self._marks += 1
        mark = f"mark {self._marks}".encode()
        self.own.command("PUBLISH", f"{PREFIX}hint-mark", mark)
        found: Hints = defaultdict(set)

        while True:
            _, _, channel, message = self.hears.receive()  # type: ignore[misc,unused-ignore] (a pmessage has four parts)

            if message == mark:
                return found

            inbox = channel.decode().removeprefix(f"{PREFIX}hint")
            inbox = "*" if inbox == "s" else inbox.removeprefix(":")

            for hint in decode_hints(message):
                found[hint.kind].add((inbox, hint.name))
                self.handed += [hint] if hint.run is not None else []


@contextmanager
def ground(url: str, *, loop: str = "asyncio", edits: tuple[Edit, ...] = ()) -> Iterator[Ground]:
    """Open the connections to the server at a URL, whose database is the test's."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal(loop))
        redis = SteppedRedis(parse_address(url), namespace=PREFIX[1:-2], edits=edits)
        running, _ = portal.start_task(redis.run)
        stack.callback(running.cancel)
        own = stack.enter_context(RespConnection(Address.from_url(url)))
        hears = stack.enter_context(RespConnection(Address.from_url(url)))
        hears.command("PSUBSCRIBE", f"{PREFIX}hint*")
        yield Ground(portal, redis, own, hears)


@define(eq=False)
class Recorder:
    """Takes the place of those who listen to the memory backend: everybody does, whatever the name."""

    sent: Hints = Factory(lambda: defaultdict(set))
    handed: list[Hint] = Factory(list[Hint])

    def hears(self, inbox: str) -> bool:
        """Everybody does."""
        return True

    def send(self, told: Iterable[tuple[str | None, Hint]]) -> None:
        """Note hints, each with its inbox."""
        for inbox, hint in told:
            self.sent[hint.kind].add(("*" if inbox is None else inbox, hint.name))
            self.handed += [hint] if hint.run is not None else []

    def taken(self) -> Hints:
        """What was sent since this was last asked."""
        sent, self.sent = self.sent, defaultdict(set)
        return sent


@frozen
class Counted:
    """A backend that counts the operations that are asked of it. All their answers are compared."""

    backend: Backend
    figures: Counter[str]

    def __getattr__(self, name: str) -> Any:
        self.figures["answers"] += 1
        self.figures[name] += 1
        return getattr(self.backend, name)


@define(eq=False)
class Twins:
    """One history of both."""

    ground: Ground
    memory: MemoryBackend = Factory(MemoryBackend)
    micros: int = START
    run_ids: dict[str, None] = Factory(dict[str, None])
    """All that were ever asked for."""
    keys: set[str] = Factory(set[str])
    shown: Shown | None = None
    handed: list[Hint] = field(factory=list[Hint], init=False)
    """The hints of the last command that brought a run."""
    _recorder: Recorder = field(factory=Recorder, init=False)

    def __attrs_post_init__(self) -> None:
        self.ground.figures["histories"] += 1
        self.ground.own.command("FLUSHDB")
        self.ground.heard()
        self.ground.handed = []
        self.memory._listeners = self._recorder  # type: ignore[assignment] (all that is asked of listeners here)

    @property
    def now(self) -> int:
        """Milliseconds by the clock of both."""
        return self.micros // 1000

    @property
    def state(self) -> Any:
        """What the memory backend holds, to look up by."""
        return self.memory._state

    def pass_time(self, micros: int) -> None:
        """Let time pass."""
        self.micros += micros

    def do(self, call: Call) -> Any:
        """Give both a command, and compare everything; the answer."""
        self.ground.figures["commands"] += 1
        self.micros += COMMAND_MICROS
        before = self.shown
        ours, theirs = self.ground.portal.call(self._both, call)
        assert ours == theirs
        # Whoever asks for a run that should have been started by now ends it: so that what is shown holds still.
        self.ground.portal.call(self._both, self._ask)
        self._compare_hints()
        # First what is stored: some of the operations that show it mend what they find amiss.
        picture = self._compare_pictures()
        self.shown = self._look()
        check_laws(before, self.shown, picture, self.now)
        return ours

    async def _both(self, call: Call) -> tuple[Any, Any]:
        clock_in_force.set(Clock(lambda: self.micros))
        # All that a command asks of memory is an operation of the interface.
        return await call(cast("Backend", Counted(self.memory, self.ground.figures))), await call(self.ground.redis)

    def _compare_hints(self) -> None:
        sent = self._recorder.taken()
        heard = self.ground.heard()
        asked, told = sent.pop("done", set()), heard.pop("done", set())
        everybody = {name for inbox, name in told if inbox == "*"}
        assert {name for _, name in asked} == {name for _, name in told}
        assert {(inbox, name) for inbox, name in asked if name not in everybody} == told - {
            ("*", name) for name in everybody
        }
        assert dict(sent) == dict(heard)
        assert self._recorder.handed == self.ground.handed
        self.handed, self._recorder.handed, self.ground.handed = self.ground.handed, [], []
        self.ground.figures["handed over"] += len(self.handed)

    def _look(self) -> Shown:
        ours, theirs = self.ground.portal.call(self._both, self._show)
        assert ours.runs == theirs.runs
        assert ours.entries == theirs.entries
        assert ours.nodes == theirs.nodes
        assert ours.queues == theirs.queues
        assert ours.totals == theirs.totals
        assert ours.found == theirs.found
        return ours

    async def _ask(self, backend: Backend) -> list[RunRecord | Corrupt | None]:
        return await backend.get_runs(list(self.run_ids))

    async def _show(self, backend: Backend) -> Shown:
        """Everything, by the plain operations; the order of what is listed is asked for elsewhere."""
        run_ids = list(self.run_ids)
        runs = await backend.get_runs(run_ids)
        entries = (await backend.list_entries()).entries
        assert all(isinstance(record, RunRecord) for record in runs if record is not None)
        assert all(isinstance(record, EntryRecord) for record in entries)

        return Shown(
            runs={record.id: record for record in runs if isinstance(record, RunRecord)},
            entries={record.id: record for record in entries if isinstance(record, EntryRecord)},
            nodes=await backend.list_nodes(),
            queues=await backend.list_queues(),
            totals=await backend.totals(),
            found={key: await backend.find_key(key) for key in sorted(self.keys)},
        )

    def _compare_pictures(self) -> Picture:
        dump = self.ground.own.command("EVAL", DUMP, 0, PREFIX)
        ours = picture_of_memory(self.state, self.now)
        theirs = picture_of_redis(dump, PREFIX, self.now)
        found = differences(ours, theirs)
        assert not found, found
        return theirs

    def compare_listings(self, queue: str | None, limit: int) -> None:
        """Page through everything, status by status and all at once."""
        for status in (*map(str, RunStatus), None):
            ours, theirs = self.ground.portal.call(self._both, partial(_pages, status, queue, limit))
            assert len(ours) == len(set(ours))
            assert len(theirs) == len(set(theirs))

            if status in LISTED_ALIKE:
                assert ours == theirs, status
            else:
                assert sorted(ours) == sorted(theirs)

    def compare_entries(self, entry_id: str, limit: int) -> None:
        """Page through them all, and ask for one; and for the time."""
        for call in (partial(_entry_pages, limit), partial(_entry, entry_id), _time):
            ours, theirs = self.ground.portal.call(self._both, call)
            assert ours == theirs


async def _entry(entry_id: str, backend: Backend) -> Any:
    return await backend.get_entry(entry_id)


async def _time(backend: Backend) -> int:
    return await backend.time_ms()


async def _entry_pages(limit: int, backend: Backend) -> list[Any]:
    found: list[Any] = []
    cursor = ""

    while True:
        page = await backend.list_entries(cursor=cursor, limit=limit)
        assert len(page.entries) <= limit
        found += page.entries
        cursor = page.cursor

        if not cursor:
            return found

        await checkpoint()


async def _pages(status: str | None, queue: str | None, limit: int, backend: Backend) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    cursor = ""

    while True:
        page = await backend.list_runs(status=status, queue=queue, cursor=cursor, limit=limit)
        assert len(page.runs) <= limit
        found += [(record.id, getattr(record, "status", "")) for record in page.runs]
        cursor = page.cursor

        if not cursor:
            return found

        await checkpoint()
