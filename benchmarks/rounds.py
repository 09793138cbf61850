"""One contestant's turn at one scenario: an empty server, its processes, and what is read from them."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.players import Marks, Player, PlayerFailed
from benchmarks.roster import Contestant
from benchmarks.server import Reading, Server, free_port

STALLED_AFTER = 30.0  # seconds without one more job
SETTLING = 0.5  # seconds for what follows the last job: acknowledgements, and a second execution that must not be
CONCURRENCY = 32

Figures = dict[str, float]


class NotDelivered(Exception):
    """Jobs were lost, or ran more than once."""

    def __init__(self, lost: int, doubled: int) -> None:
        super().__init__(f"{lost} jobs never ran, {doubled} ran more than once")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: for figures, or to see that everything works."""

    quick: bool
    fixed: int | None = None  # how many jobs, whoever it is

    def pick(self, full: float, quick: float) -> float:
        return quick if self.quick else full

    def jobs(self, contestant: Contestant, seconds: float = 4.0) -> int:
        """As many as keep the contestant busy for so long, by what is roughly known of it."""
        if self.fixed or self.quick:
            return self.fixed or 300

        return int(min(max(contestant.pace * seconds, 2_000), 200_000))


@dataclass(frozen=True)
class Moment:
    """Everything that counts up, read at once."""

    at: float
    done: int
    cpu: float
    server: Reading


@dataclass
class Round:
    contestant: Contestant
    python: Path
    server: Server
    sizes: Sizes
    log: Path
    indices: int = 0  # how many jobs there are to mark; set before the first process is started
    held_from: int = 1 << 40  # from which index on a job lasts until it is killed
    versions: dict[str, str] = field(default_factory=dict)
    players: list[Player] = field(default_factory=list)
    workers: list[Player] = field(default_factory=list)
    proxies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    # --- players ---------------------------------------------------------------------------------------------

    def start(self, role: str, url: str | None = None, concurrency: int = CONCURRENCY) -> Player:
        player = Player(
            self.contestant,
            self.python,
            self.log,
            Marks(self.indices),
            self.held_from,
            role=role,
            url=url or self.server.url,
            concurrency=concurrency,
        )
        self.players.append(player)
        return player

    def client(self) -> Player:
        player = self.start("client")
        self.versions.update(player.hello())
        return player

    def hire(self, count: int = 1, url: str | None = None, concurrency: int = CONCURRENCY) -> list[Player]:
        """Workers that have loaded everything and wait to be told to go."""
        hired = [self.start("worker", url, concurrency) for _ in range(count)]

        for worker in hired:
            worker.hello()

        self.workers += hired
        return hired

    def wake(self, client: Player, index: int, count: int = 1) -> list[Player]:
        """Workers that have run a job each already, if there is one, and are idle now."""
        hired = self.hire(count)

        for worker in hired:
            worker.go()

        client.call("one", first=index, count=1)
        self.await_marks(index + 1, first=index)
        time.sleep(1.0 + 0.1 * count)
        return hired

    def proxy(self, delay: float) -> str:
        """A url of the server behind a proxy that adds so much to each direction."""
        port = free_port()
        script = str(Path(__file__).with_name("delay_proxy.py"))
        process = subprocess.Popen(
            [sys.executable, script, str(port), str(self.server.port), str(delay)], stdout=subprocess.PIPE
        )
        self.proxies.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return f"redis://127.0.0.1:{port}/0"

    def close(self) -> None:
        for player in self.players:
            player.kill()
            player.marks.unlink()

        for process in self.proxies:
            process.kill()
            process.wait()

    # --- marks -----------------------------------------------------------------------------------------------

    def done(self, first: int = 0, until: int | None = None) -> int:
        """How many of these jobs have started. Cheap, but it counts twice what ran in two processes."""
        parts = [bytes(worker.marks.counts[first:until]) for worker in self.workers]
        return sum(len(part) - part.count(0) for part in parts)

    def await_marks(self, until: int, first: int = 0, limit: float | None = None) -> None:
        """Until all of these jobs have started; an error if there is no progress for too long."""
        before, since = -1, time.monotonic()
        give_up = time.monotonic() + (limit or 1e9)

        while (done := self.done(first, until)) < until - first:
            if done != before:
                before, since = done, time.monotonic()

            if time.monotonic() > min(since + (limit or STALLED_AFTER), give_up):
                raise NotDelivered(until - first - done, 0)

            if any(worker.ended() for worker in self.workers):
                raise PlayerFailed(self.contestant.name, "a worker ended; see .benchmarks/logs")

            time.sleep(0.01)

    def check_delivery(self, until: int, first: int = 0) -> None:
        """Each of these jobs ran exactly once, in all processes together."""
        parts = [worker.marks.counts[first:until] for worker in self.workers]
        counts = [sum(each) for each in zip(*parts, strict=True)]
        lost, doubled = counts.count(0), sum(count > 1 for count in counts)

        if lost or doubled:
            raise NotDelivered(lost, doubled)

    def started(self, first: int, until: int) -> list[float]:
        """When each of these jobs first started."""
        firsts = zip(*(worker.marks.instants[first:until] for worker in self.workers), strict=True)
        return [min(filter(None, each)) for each in firsts]

    # --- measures --------------------------------------------------------------------------------------------

    def moment(self, first: int = 0, until: int | None = None) -> Moment:
        server = self.server.read()
        done = self.done(first, until)
        return Moment(time.monotonic(), done, sum(worker.cpu() for worker in self.workers), server)

    def fill(self, count: int) -> Player:
        """A queue of so many jobs."""
        self.indices = count
        client = self.client()
        client.call("bulk", first=0, count=count)
        return client

    def drain(self, count: int, workers: int = 1, url: str | None = None, concurrency: int = CONCURRENCY) -> Figures:
        """Start workers on a full queue and see how fast they empty it, from when all have begun.

        Loading and connecting are not counted.
        """
        for worker in self.hire(workers, url, concurrency):
            worker.go()

        wait_until(
            lambda: all(any(worker.marks.counts) for worker in self.workers) or self.done() == count,
            STALLED_AFTER,
            self.contestant.name,
        )
        begin = self.moment()
        self.await_marks(count)
        end_cpu = sum(worker.cpu() for worker in self.workers)
        time.sleep(SETTLING)
        end = self.moment()
        self.check_delivery(count)
        return self.rates(count, begin, end, end_cpu)

    def rates(self, count: int, begin: Moment, end: Moment, end_cpu: float) -> Figures:
        starts = [sorted(filter(None, worker.marks.instants)) for worker in self.workers if any(worker.marks.counts)]
        opening, closing = max(each[0] for each in starts), max(each[-1] for each in starts)
        inside = sum(instant > opening for each in starts for instant in each)
        jobs = max(1, count - begin.done)
        return {
            "jobs_per_s": inside / max(closing - opening, 1e-6),
            "cpu_us": 1e6 * (end_cpu - begin.cpu) / jobs,
            "redis_cpu_us": 1e6 * (end.server.cpu - begin.server.cpu) / jobs,
            "commands": (end.server.commands - begin.server.commands) / jobs,
            "trips": (end.server.requests - begin.server.requests) / jobs,
        }

    def enqueue(self, count: int, do: str, **arguments: Any) -> Figures:
        """Enqueue in one of the ways, and see that a worker then runs each job once."""
        warm = min(count, 50)
        self.indices = count + warm
        client = self.client()
        client.call(do, first=count, count=warm, **arguments)  # connections, scripts, caches
        begin = self.server.read()
        answer = client.call(do, first=0, count=count, **arguments)
        end = self.server.read()
        figures = {
            "jobs_per_s": count / answer["seconds"],
            "cpu_us": 1e6 * answer["cpu"] / count,
            "trips": (end.requests - begin.requests) / count,
        }

        for worker in self.hire():
            worker.go()

        self.await_marks(count + warm)
        time.sleep(SETTLING)
        self.check_delivery(count + warm)
        return figures

    def pickup(self, client: Player, first: int, count: int, every: float) -> Figures:
        """How long an idle worker takes to start a job, in milliseconds, from before it is enqueued."""
        sent = client.call("paced", first=first, count=count, every=every)
        self.await_marks(first + count, first)
        time.sleep(SETTLING)
        self.check_delivery(first + count, first)
        return milliseconds([b - a for a, b in zip(sent, self.started(first, first + count), strict=True)])

    def lateness(self, client: Player, first: int, count: int, every: float) -> Figures:
        """How late delayed jobs start, in milliseconds, and how many started early."""
        base = round(time.time() + self.sizes.pick(3.0, 1.5), 3)
        dues = [round(base + every * k, 3) for k in range(count)]
        client.call("delayed", first=first, dues=dues)
        self.await_marks(first + count, first, limit=STALLED_AFTER + dues[-1] - time.time())
        time.sleep(SETTLING)
        self.check_delivery(first + count, first)
        late = [start - due for due, start in zip(dues, self.started(first, first + count), strict=True)]
        return {**milliseconds(late), "early": sum(each < 0 for each in late)}

    def idle(self, workers: Sequence[Player], seconds: float) -> Figures:
        """What workers cost that have nothing to do."""
        begin, cpu = self.server.read(), sum(worker.cpu() for worker in workers)
        start = time.monotonic()
        time.sleep(seconds)
        end, cpu = self.server.read(), sum(worker.cpu() for worker in workers) - cpu
        span = time.monotonic() - start
        return {
            "commands_per_s": (end.commands - begin.commands) / span / len(workers),
            "requests_per_s": (end.requests - begin.requests) / span / len(workers),
            "cpu_percent": 100 * cpu / span / len(workers),
            "redis_cpu_percent": 100 * (end.cpu - begin.cpu) / span,
            "rss_mb": sum(worker.memory() for worker in workers) / len(workers) / 1e6,
            "own_mb": sum(worker.own_memory() for worker in workers) / len(workers) / 1e6,
            "clients": self.server.clients(),
        }


@contextlib.contextmanager
def round_of(contestant: Contestant, server: Server, sizes: Sizes, work: Path) -> Generator[Round]:
    log = work / "logs" / f"{contestant.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    server.clear()
    this = Round(contestant, contestant.environment(work), server, sizes, log)

    try:
        yield this
    finally:
        this.close()


def wait_until(condition: Callable[[], bool], limit: float, name: str) -> None:
    give_up = time.monotonic() + limit

    while not condition():
        if time.monotonic() > give_up:
            raise PlayerFailed(name, f"nothing happened for {limit:.0f} s")

        time.sleep(0.001)


def milliseconds(seconds: list[float]) -> Figures:
    ordered = sorted(seconds)
    return {
        "p50_ms": 1e3 * statistics.median(ordered),
        "p99_ms": 1e3 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "max_ms": 1e3 * ordered[-1],
    }
