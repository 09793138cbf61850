"""Settings, from code and from the environment."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.config import ErrorContext, SchedulerConfig, environment
from anysched.dotenv import parse_dotenv, read_dotenv
from anysched.errors import InvalidConfig

# --- from code ---------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_contract() -> None:
    """All of them."""
    config = SchedulerConfig()

    assert (UTC, timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=30)) == (
        *(config.timezone, config.tick_interval, config.lease, config.shutdown_timeout),
    )
    assert ({"default": 1}, False, 512 * 1024, timedelta(hours=1), timedelta(days=7), None) == (
        *(dict(config.queues), config.strict_queues, config.max_payload),
        *(config.result_ttl, config.failed_ttl, config.on_error),
    )


def test_settings_are_frozen_through_and_through() -> None:
    """The queues too, whatever happens to the mapping they were given as."""
    given = {"mail": 2}
    config = SchedulerConfig(queues=given)
    given["mail"] = 3

    assert {"mail": 2} == config.queues

    with pytest.raises(TypeError):
        config.queues["mail"] = 3  # type: ignore[index] (that is the point)

    with pytest.raises(AttributeError):
        config.lease = timedelta(0)  # type: ignore[misc] (likewise)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"timezone": "Mars/X"}, "invalid timezone 'Mars/X'"),
        ({"timezone": 5}, "invalid timezone 5"),
        ({"tick_interval": "x"}, "invalid tick_interval 'x': expected a timedelta, a number of seconds"),
        ({"tick_interval": 0}, "invalid tick_interval 0: expected at least 10ms"),
        ({"lease": "999ms"}, "invalid lease '999ms': expected at least 1s"),
        ({"shutdown_timeout": -1}, "invalid shutdown_timeout -1"),
        ({"queues": {}}, "invalid queues {}: expected a mapping from at least one name to a weight"),
        ({"queues": ["a"]}, "invalid queues ['a']"),
        ({"queues": {"a": 0}}, "invalid queues {'a': 0}"),
        ({"queues": {"a": 1.5}}, "invalid queues {'a': 1.5}"),
        ({"queues": {"a": True}}, "invalid queues {'a': True}"),
        ({"queues": {"a b": 1}}, "invalid queues 'a b'"),
        ({"strict_queues": "yes"}, "invalid strict_queues 'yes': expected True or False"),
        ({"max_payload": 0}, "invalid max_payload 0: expected a whole number of bytes from 1"),
        ({"max_payload": 1e6}, "invalid max_payload 1000000.0"),
        ({"result_ttl": "-1s"}, "invalid result_ttl '-1s'"),
        ({"failed_ttl": None}, "invalid failed_ttl None"),
        ({"on_error": "log"}, "invalid on_error 'log': expected a function"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any], complaint: str) -> None:
    """It and its value are named."""
    with pytest.raises(InvalidConfig) as caught:
        SchedulerConfig(**settings)

    assert complaint in str(caught.value)


# --- from the environment ----------------------------------------------------------------------------------------


def test_every_setting_can_come_from_the_environment() -> None:
    """As text in the notation of durations, queues with weights."""
    environ = {
        "ANYSCHED_TIMEZONE": "Europe/Berlin",
        "ANYSCHED_TICK_INTERVAL": "250ms",
        "ANYSCHED_LEASE": "20",
        "ANYSCHED_SHUTDOWN_TIMEOUT": " 1.5 ",
        "ANYSCHED_QUEUES": "critical=6, default=3,low",
        "ANYSCHED_STRICT_QUEUES": "True",
        "ANYSCHED_MAX_PAYLOAD": "1000",
        "ANYSCHED_RESULT_TTL": "1h30m",
        "ANYSCHED_FAILED_TTL": "0",
        "ANYSCHED_TEST_REDIS_URL": "anything",
        "OTHER": "anything",
    }

    assert SchedulerConfig(
        timezone=ZoneInfo("Europe/Berlin"),
        tick_interval="250ms",
        lease=20,
        shutdown_timeout=1.5,
        queues={"critical": 6, "default": 3, "low": 1},
        strict_queues=True,
        max_payload=1000,
        result_ttl="90m",
        failed_ttl=0,
    ) == SchedulerConfig.from_env(environ, env_file=None)


def test_a_name_of_a_queue_may_have_colons() -> None:
    """With a weight even one that looks like a weight."""
    found = SchedulerConfig.from_env({"ANYSCHED_QUEUES": "eu:mail,mail:2=1"}, env_file=None)

    assert {"eu:mail": 1, "mail:2": 1} == found.queues


def test_an_empty_environment_gives_the_defaults() -> None:
    """And neither backend nor namespace of its own. A variable that is empty is as good as none."""
    names = ("BACKEND", "NAMESPACE", *(setting.name.upper() for setting in attrs.fields(SchedulerConfig)))

    for environ in ({}, {f"ANYSCHED_{name}": "" for name in names}, {f"ANYSCHED_{name}": " \t" for name in names}):
        found = environment(environ, env_file=None)

        assert (None, "anysched", SchedulerConfig()) == (found.backend, found.namespace, found.config)


def test_what_kubernetes_says_of_a_service_is_passed_over() -> None:
    """One that is called `anysched`, or `anysched-web`, gives every container these. A typing error stays one.

    Break: no container of that cluster starts.
    """
    links = {
        "SERVICE_HOST": "10.0.0.11",
        "SERVICE_PORT": "6379",
        "SERVICE_PORT_HTTP": "6379",
        "PORT": "tcp://10.0.0.11:6379",
        "PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "PORT_6379_TCP_PROTO": "tcp",
        "PORT_6379_TCP_PORT": "6379",
        "PORT_6379_TCP_ADDR": "10.0.0.11",
    }
    environ = {f"{prefix}{name}": value for prefix in ("ANYSCHED_", "ANYSCHED_WEB_") for name, value in links.items()}

    assert SchedulerConfig() == SchedulerConfig.from_env(environ, env_file=None)

    for name in ("ANYSCHED_PORT", "ANYSCHED_SERVICE", "ANYSCHED_WEB_PORT"):
        with pytest.raises(InvalidConfig, match=f"invalid setting '{name}'"):
            SchedulerConfig.from_env({name: "6379"}, env_file=None)


def test_an_empty_variable_takes_back_what_the_file_says(tmp_path: Path) -> None:
    """The environment wins over the file, also where all it says is nothing."""
    file = tmp_path / ".env"
    file.write_text("ANYSCHED_LEASE=7s\nANYSCHED_NAMESPACE=shop\nANYSCHED_RESULT_TTL=\n")
    found = environment({"ANYSCHED_LEASE": ""}, env_file=file)

    assert ("shop", SchedulerConfig()) == (found.namespace, found.config)


def test_backend_and_namespace_come_from_the_environment() -> None:
    """A password in the address is not shown."""
    found = environment({"ANYSCHED_BACKEND": "redis://:secret@h", "ANYSCHED_NAMESPACE": "shop"}, env_file=None)

    assert ("redis://:secret@h", "shop") == (found.backend, found.namespace)
    assert "secret" not in repr(found)


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ``.env`` file of the working directory."""
    monkeypatch.setenv("ANYSCHED_LEASE", "7s")

    assert timedelta(seconds=7) == SchedulerConfig.from_env(env_file=None).lease


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("TICK", "5s", "invalid setting 'ANYSCHED_TICK': expected one of ANYSCHED_BACKEND, ANYSCHED_NAMESPACE"),
        ("ON_ERROR", "x", "invalid setting 'ANYSCHED_ON_ERROR'"),
        ("LEASE", "x", "invalid ANYSCHED_LEASE 'x': expected"),
        ("LEASE", "1ms", "invalid ANYSCHED_LEASE '1ms': expected at least 1s"),
        ("LEASE", "nan", "invalid ANYSCHED_LEASE 'nan'"),
        ("LEASE", "1e400", "invalid ANYSCHED_LEASE inf"),
        ("TIMEZONE", "Mars/X", "invalid ANYSCHED_TIMEZONE 'Mars/X'"),
        ("QUEUES", ",", "invalid ANYSCHED_QUEUES ',': expected names with weights such as critical=6,default=3"),
        ("QUEUES", "mail:2,default:1", "invalid ANYSCHED_QUEUES 'mail:2,default:1': expected mail=2 for a weight, or"),
        ("QUEUES", "eu:mail:2", "expected eu:mail=2 for a weight, or eu:mail:2=1 for a queue of that name"),
        ("QUEUES", "a=1,a=2", "invalid ANYSCHED_QUEUES 'a=1,a=2'"),
        ("QUEUES", "a=x", "invalid ANYSCHED_QUEUES 'x': expected a whole number"),
        ("QUEUES", "a=", "invalid ANYSCHED_QUEUES ''"),
        ("QUEUES", "a=0", "invalid ANYSCHED_QUEUES {'a': 0}"),
        ("QUEUES", "a b=1", "invalid ANYSCHED_QUEUES 'a b'"),
        ("STRICT_QUEUES", "maybe", "invalid ANYSCHED_STRICT_QUEUES 'maybe': expected one of 1, true, yes, on, 0"),
        ("MAX_PAYLOAD", "1k", "invalid ANYSCHED_MAX_PAYLOAD '1k': expected a whole number"),
        ("MAX_PAYLOAD", "-1", "invalid ANYSCHED_MAX_PAYLOAD '-1'"),
        ("MAX_PAYLOAD", "0", "invalid ANYSCHED_MAX_PAYLOAD 0"),
        ("MAX_PAYLOAD", "9" * 5000, "invalid ANYSCHED_MAX_PAYLOAD '999"),
        ("NAMESPACE", "a b", "invalid ANYSCHED_NAMESPACE 'a b'"),
        ("NAMESPACE", "{a}", "invalid ANYSCHED_NAMESPACE '{a}'"),
    ],
)
def test_a_variable_that_does_not_parse_is_refused(name: str, value: str, complaint: str) -> None:
    """Under the name that it has in the environment."""
    with pytest.raises(InvalidConfig) as caught:
        environment({f"ANYSCHED_{name}": value}, env_file=None)

    assert complaint in str(caught.value)


# --- .env files --------------------------------------------------------------------------------------------------


def test_an_env_file_is_honoured_and_the_environment_wins(tmp_path: Path) -> None:
    """The file need not exist."""
    file = tmp_path / ".env"
    file.write_text("\ufeffANYSCHED_LEASE=7s\nexport ANYSCHED_NAMESPACE='shop'\nANYSCHED_MAX_PAYLOAD=5 # bytes\n")
    found = environment({"ANYSCHED_LEASE": "9s"}, env_file=file)

    assert (timedelta(seconds=9), "shop", 5) == (found.config.lease, found.namespace, found.config.max_payload)
    assert {} == read_dotenv(tmp_path / "none")


def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder, or something that is no text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(InvalidConfig, match="invalid env_file"):
            environment({}, env_file=path)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("N=", ""),
        ("N=value", "value"),
        ("  export N = value ", "value"),
        ("N=two words", "two words"),
        ("N=value # comment", "value"),
        ("N=# comment", None),
        ("N= # comment", ""),
        ("N=redis://u:p#w@h/0?a=b", "redis://u:p#w@h/0?a=b"),
        ("N='a # \"b\" $C \\n'", 'a # "b" $C \\n'),
        ('N="a # \'b\' \\"c\\" \\n\\t\\\\ \\$D"  # comment', "a # 'b' \"c\" \n\t\\ $D"),
        ("N=it's", "it's"),
        ("N='a' 'b'", None),
        ("# N=value", None),
        ("N", None),
        ("1N=value", None),
        ("N='open", None),
    ],
)
def test_lines_of_an_env_file(line: str, value: str | None) -> None:
    """What cannot be read is somebody else's, and passed over."""
    assert ({} if value is None else {"N": value}) == parse_dotenv(f"\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "ANYSCHED_BACKEND='redis://:s3cret@h",
        "ANYSCHED_BACKEND: redis://:s3cret@h",
        "ANYSCHED_BACKEND redis://:s3cret@h",
        "  export ANYSCHED_BACKEND",
        "PGPASSWORD 's3cret ANYSCHED_BACKEND",
        "PGPASSWORD='s3cret ANYSCHED_BACKEND",
    ],
)
def test_a_line_of_ours_that_cannot_be_read_is_named_without_its_value(line: str) -> None:
    """Which may be a secret, wherever it stands."""
    with pytest.raises(InvalidConfig) as caught:
        parse_dotenv(f"A=1\n{line}", "app.env")

    assert "invalid line 2 of app.env 'ANYSCHED_BACKEND': expected NAME=value" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Only the documented error leaves."""
    try:
        parse_dotenv(text)
    except InvalidConfig:
        assert "ANYSCHED_" in text


# --- error contexts ----------------------------------------------------------------------------------------------


def test_an_error_context_reads_well() -> None:
    """Only what applies is said."""
    assert "handler error (job=mail, run_id=r, attempt=2)" == str(
        ErrorContext(kind="handler", job="mail", run_id="r", attempt=2)
    )
    assert "tick error" == str(ErrorContext(kind="tick"))
