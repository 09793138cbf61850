"""Which of our errors a library's error becomes, and that nothing is shown that should not be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import coredis.exceptions
import pytest
import redis.exceptions
from coredis.parser import Parser
from redis._parsers.base import BaseParser

from anysched.backends.redis.addresses import parse_address
from anysched.backends.redis.failures import explain, is_demoted
from anysched.backends.redis.link import open_link
from anysched.errors import BackendError, BackendRefused, BackendUnavailable
from anysched.testing.proxy import FaultyProxy
from anysched.testing.servers import RedisServer

LIBRARIES = {"redis-py": BaseParser.parse_error, "coredis": Parser().parse_error}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BackendUnavailable, "LOADING Redis is loading the dataset in memory"),
        (BackendUnavailable, "READONLY You can't write against a read only replica."),
        (BackendUnavailable, "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist"),
        (BackendUnavailable, "OOM command not allowed when used memory > 'maxmemory'."),
        (BackendUnavailable, "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
        (BackendUnavailable, "TRYAGAIN Multiple keys request during rehashing of slot"),
        (BackendUnavailable, "CLUSTERDOWN The cluster is down"),
        (BackendUnavailable, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        (BackendUnavailable, "NOREPLICAS Not enough good replicas to write."),
        (BackendUnavailable, "ERR max number of clients reached"),
        (BackendUnavailable, "ERR Error running script (call to f_1): @user_script:1: @user_script: 3: -OOM command"),
        (BackendRefused, "NOAUTH Authentication required."),
        (BackendRefused, "WRONGPASS invalid username-password pair or user is disabled."),
        (BackendRefused, "NOPERM this user has no permissions to run the 'eval' command"),
        (BackendRefused, "ERR unknown command 'EVALSHA', with args beginning with: 'x' "),
        (BackendRefused, "ERR unknown command `EVALSHA`, with args beginning with: `x`, "),
        (BackendRefused, "ERR Unknown Redis command called from script script: 1, on @user_script:1."),
        (BackendRefused, "ERR Unknown command called from script script: on @user_script:1."),
        (BackendRefused, "ERR The user executing the script can't run this command script: 1, on @user_script:1."),
        (BackendRefused, "ERR ACL failure in script: User u has no permissions to run the 'set' command script: 1"),
        (BackendRefused, "ERR ACL failure in script: No permissions to access a key script: 1, on @user_script:1."),
        (BackendRefused, "ERR AUTH <password> called without any password configured for the default user."),
        (BackendRefused, "ERR DB index is out of range"),
        (BackendRefused, "MOVED 866 127.0.0.1:7001"),
        (BackendRefused, "CROSSSLOT Keys in request don't hash to the same slot"),
        (BackendRefused, "NOPROTO unsupported protocol version"),
        (BackendError, "WRONGTYPE Operation against a key holding the wrong kind of value"),
        (BackendError, "ERR value is not an integer or out of range"),
        (BackendError, "BUSYGROUP Consumer Group name already exists"),
    ],
)
def test_a_server_s_error_is_told_by_its_code(library: str, kind: type[BackendError], said: str) -> None:
    """The same for either library, whatever class it has for it; and what the server said is not lost."""
    told = explain(LIBRARIES[library](said))

    assert kind is type(told)
    assert said.split(" ", 1)[1].partition(", with args")[0][:20].strip("'`") in str(told)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError(),
        anyio.EndOfStream(),
        anyio.BrokenResourceError(),
        anyio.ClosedResourceError(),
        redis.exceptions.ConnectionError("Connection closed by server."),
        redis.exceptions.TimeoutError("Timeout reading from 127.0.0.1:1"),
        redis.exceptions.InvalidResponse("Protocol Error: b'x'"),
        redis.exceptions.MaxConnectionsError("Too many connections"),
        coredis.exceptions.ConnectionError("Connection lost!"),
        coredis.exceptions.StalePrimaryError("reports a role of b'slave'"),
        coredis.exceptions.PrimaryNotFoundError("mymaster"),
    ],
)
def test_a_lost_connection_is_unavailable(error: Exception) -> None:
    """Whatever it was lost by, and it is named."""
    told = explain(error)

    assert BackendUnavailable is type(told)
    assert (str(error) or type(error).__name__) in str(told)


def test_arguments_are_not_shown() -> None:
    """A server without AUTH quotes what it was sent, the password for one."""
    error = LIBRARIES["redis-py"]("ERR unknown command 'AUTH', with args beginning with: 'hunter2' ")

    assert "hunter2" not in str(explain(error))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("demoted", "said"),
    [
        (True, "READONLY You can't write against a read only replica."),
        (True, "ERR Error running script (call to f_1): @user_script:1: @user_script: 3: -READONLY You can't write"),
        (True, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        (False, "NOREPLICAS Not enough good replicas to write."),
        (False, "LOADING Redis is loading the dataset in memory"),
    ],
)
def test_a_replica_is_known_by_its_refusal(library: str, demoted: bool, said: str) -> None:
    """Whether it has a master at present or not."""
    assert demoted is is_demoted(LIBRARIES[library](said))


@pytest.mark.parametrize("lost", ["call", "subscription"])
async def test_a_loss_is_told_in_one_sentence(lost: str, all_loops: None) -> None:
    """Whether the library has words for it or we have."""
    told: list[str] = []

    async def note(failing: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(BackendUnavailable) as caught, anyio.fail_after(5):
            await failing()

        told.append(str(caught.value))

    class Standing:
        def started(self, value: None = None) -> None:
            server.cli("CLIENT", "KILL", "TYPE", "pubsub")

    with RedisServer(own=True, appendonly=False) as server:
        async with FaultyProxy(target_port=server.port) as proxy, anyio.create_task_group() as services:
            link = open_link(parse_address(f"redis://127.0.0.1:{proxy.port}"))
            await services.start(link.run)

            if lost == "call":
                proxy.drop_replies(containing=b"ECHO")

                async with anyio.create_task_group() as callers:
                    callers.start_soon(note, lambda: link.command("ECHO", "a"))
                    callers.start_soon(note, lambda: link.command("ECHO", "b"))
            else:
                await note(lambda: link.listen(["c"], [].append, task_status=Standing()))

            services.cancel_scope.cancel()

    assert {1} == {said.count("Redis cannot be") for said in told}, told
