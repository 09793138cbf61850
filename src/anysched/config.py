"""The settings of a scheduler, from code or from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, timedelta, tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import msgspec
from attrs import Attribute, field, frozen

from anysched.durations import LONGEST, Duration, duration_of_words, parse_duration
from anysched.errors import InvalidConfig, InvalidDuration, InvalidOption, InvalidSchedule
from anysched.identifiers import check_name
from anysched.schedules import resolve_timezone
from anysched.values import is_whole

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_NAMESPACE",
    "Environment",
    "ErrorContext",
    "ErrorHandler",
    "SchedulerConfig",
    "chosen_queues",
    "environment",
]

DEFAULT_NAMESPACE: Final = "anysched"

_PREFIX: Final = "ANYSCHED_"
_MS: Final = timedelta(milliseconds=1)

_LINK: Final = (
    r"ANYSCHED_(\w+_)?(SERVICE_HOST=.*|SERVICE_PORT(_\w+)?=\d+|PORT(_\d+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://.*"
    r"|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)=.*)"
)
"""What Kubernetes tells every container of a service that is called ``anysched``, or ``anysched-...``."""

# Shorter than this, a garbage collection or a busy machine would lose leases all the time.
_SHORTEST_LEASE: Final = timedelta(seconds=1)


class ErrorContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where an error happened; what does not apply is None.

    Attributes:
        kind: ``"enqueue"``, ``"tick"``, ``"handler"`` or ``"backend"``.
        job: the job's name.
        run_id: the run.
        entry_id: the entry.
        attempt: the attempt at the run.
        node: the node that noticed.
    """

    kind: Literal["enqueue", "tick", "handler", "backend"]
    job: str | None = None
    run_id: str | None = None
    entry_id: str | None = None
    attempt: int | None = None
    node: str | None = None

    def __str__(self) -> str:
        names = ("job", "run_id", "entry_id", "attempt", "node")
        said = [f"{name}={value}" for name in names if (value := getattr(self, name)) is not None]
        return f"{self.kind} error" + (f" ({', '.join(said)})" if said else "")


ErrorHandler: TypeAlias = Callable[[Exception, ErrorContext], Awaitable[None] | None]
"""Sees every error of an enqueue, a tick or a handler; sync or async."""


# --- from what a user writes --------------------------------------------------------------------------------------


# A type checker takes a parameter's type from its converter, and that of a call's result it does not work out: so each
# converter is a function with a name.


def _to_tick_interval(value: Duration) -> timedelta:
    return _length_of("tick_interval", value, 10 * _MS)


def _to_lease(value: Duration) -> timedelta:
    return _length_of("lease", value, _SHORTEST_LEASE)


def _to_shutdown_timeout(value: Duration) -> timedelta:
    return _length_of("shutdown_timeout", value)


def _to_result_ttl(value: Duration) -> timedelta:
    return _length_of("result_ttl", value)


def _to_failed_ttl(value: Duration) -> timedelta:
    return _length_of("failed_ttl", value)


def _length_of(name: str, value: Duration, least: timedelta = timedelta(0)) -> timedelta:
    try:
        return parse_duration(value, name=name, minimum=least, maximum=LONGEST)
    except InvalidDuration as error:
        raise InvalidConfig(name, error.value, error.allowed) from None


def _to_zone(value: str | tzinfo) -> tzinfo:
    try:
        return resolve_timezone(value)
    except InvalidSchedule as error:
        raise InvalidConfig("timezone", error.value, error.allowed) from None


def _to_queues(value: Mapping[str, int]) -> Mapping[str, int]:
    return _queues_of(value)


def _queues_of(value: Any) -> Mapping[str, int]:
    allowed = "a mapping from at least one name to a weight, a whole number from 1"

    queues: dict[Any, Any] = dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else {}

    if not queues:
        raise InvalidConfig("queues", cast("Any", value), allowed)

    for name, weight in queues.items():
        _check_queue(name)

        if not is_whole(weight, 1):
            raise InvalidConfig("queues", {name: weight}, allowed)

    return MappingProxyType(queues)


def chosen_queues(given: Any, configured: Mapping[str, int]) -> Mapping[str, int]:
    """The queues that one node works on, with weights.

    Args:
        given: names, or a mapping from names to weights; empty: none. None: those that are configured.
        configured: with the weights of those whose names alone are given.

    Raises:
        InvalidConfig: it is something else.
    """
    if given is None:
        return configured

    if isinstance(given, str | bytes) or not isinstance(given, Collection):
        raise InvalidConfig("queues", given, "a list of names, or a mapping from names to weights")

    names = cast("Collection[Any]", given)

    if not isinstance(names, Mapping):
        names = {name: configured.get(name, 1) for name in map(_check_queue, names)}

    return _queues_of(names) if names else {}


def _check_queue(name: object) -> str:
    try:
        return check_name("queues", name)
    except InvalidOption as error:
        raise InvalidConfig("queues", error.value, error.allowed) from None


def _check_payload(_: object, __: Attribute[Any], value: object) -> None:
    if not is_whole(value, 1):
        raise InvalidConfig("max_payload", value, "a whole number of bytes from 1")


def _check_switch(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidConfig(attribute.name, value, "True or False")


def _check_handler(_: object, __: Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise InvalidConfig("on_error", value, "a function of an error and its context, or None")


@frozen(kw_only=True)
class SchedulerConfig:
    """The settings of a scheduler. Lengths of time are written in any way :data:`~anysched.durations.Duration` allows.

    Args:
        timezone: of cron expressions, written as text, that name none: a name, or a ``tzinfo``.
        tick_interval: nothing is looked after less often than this, when every wake-up is lost.
        lease: for how long a node may be silent until its runs go to others; at least a second.
        shutdown_timeout: what a graceful stop gives live attempts to end by themselves.
        queues: what is worked on, with weights: of two busy queues with 6 and 3, the first gets two thirds.
        strict_queues: a queue is looked at only when those with a greater weight are empty.
        max_payload: the most bytes that a run's arguments, its metadata, or its result may take, each.
        result_ttl: how long ended runs are kept with their results; at least 10 s, and so long if this is less, since
            whoever settles a run twice has to find it still there.
        failed_ttl: how long failed runs are kept.
        on_error: sees every error of an enqueue (which its caller gets, too), a tick or a handler; None: the
            ``anysched`` logger does.

    Raises:
        InvalidConfig: a setting cannot be; it and its value are named.
    """

    timezone: tzinfo = field(default=UTC, converter=_to_zone)
    tick_interval: timedelta = field(default=timedelta(seconds=5), converter=_to_tick_interval)
    lease: timedelta = field(default=timedelta(seconds=15), converter=_to_lease)
    shutdown_timeout: timedelta = field(default=timedelta(seconds=30), converter=_to_shutdown_timeout)
    queues: Mapping[str, int] = field(factory=lambda: {"default": 1}, converter=_to_queues)
    strict_queues: bool = field(default=False, validator=_check_switch)
    max_payload: int = field(default=512 * 1024, validator=_check_payload)
    result_ttl: timedelta = field(default=timedelta(hours=1), converter=_to_result_ttl)
    failed_ttl: timedelta = field(default=timedelta(hours=168), converter=_to_failed_ttl)
    on_error: ErrorHandler | None = field(default=None, validator=_check_handler)

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, env_file: str | Path | None = ".env"
    ) -> SchedulerConfig:
        """The settings that the environment makes: ``ANYSCHED_TICK_INTERVAL=5s`` and so on.

        ``ANYSCHED_QUEUES`` is written ``critical=6,default=3``; ``on_error`` cannot be set. A variable that is empty
        counts as not set, and one that is empty in the environment takes back what the file says. What Kubernetes sets
        for a service called ``anysched`` is passed over.

        Args:
            environ: the environment; ``os.environ`` if None.
            env_file: a file of ``NAME=value`` lines, need not exist; the environment wins. None: no file.

        Raises:
            InvalidConfig: a value cannot be read, or there is no such setting.
        """
        return environment(environ, env_file=env_file).config


# --- from the environment ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Environment:
    """What the environment says of a scheduler.

    Attributes:
        backend: its address; None if ``ANYSCHED_BACKEND`` is not set.
        namespace: ``ANYSCHED_NAMESPACE``.
        config: the settings.
    """

    # An address may hold a password.
    backend: str | None = field(repr=False)
    namespace: str
    config: SchedulerConfig


def environment(environ: Mapping[str, str] | None = None, *, env_file: str | Path | None = ".env") -> Environment:
    """Everything that the environment says of a scheduler; see :meth:`SchedulerConfig.from_env`.

    Raises:
        InvalidConfig: a value cannot be read, or there is no such setting.
    """
    # A program that is configured in code needs none of it.
    from anysched.dotenv import read_dotenv

    found = {**read_dotenv(env_file), **(os.environ if environ is None else environ)}
    # Empty is how a shell or a container's file takes back a variable that it cannot unset.
    ours = {
        name.removeprefix(_PREFIX): value.strip()
        for name, value in found.items()
        if name.startswith(_PREFIX) and not name.startswith(f"{_PREFIX}TEST_") and value.strip()
        if not re.fullmatch(_LINK, f"{name}={value}")
    }
    backend = ours.pop("BACKEND", None)
    namespace = ours.pop("NAMESPACE", DEFAULT_NAMESPACE)
    settings: dict[str, Any] = {}

    for name, value in ours.items():
        reader = _READERS.get(name)

        if reader is None:
            known = ", ".join(f"{_PREFIX}{one}" for one in ("BACKEND", "NAMESPACE", *_READERS))
            raise InvalidConfig("setting", f"{_PREFIX}{name}", f"one of {known}")

        settings[name.lower()] = reader(f"{_PREFIX}{name}", value)

    return Environment(backend=backend, namespace=_check_namespace(namespace), config=_config_of(settings))


def _config_of(settings: Mapping[str, Any]) -> SchedulerConfig:
    try:
        return SchedulerConfig(**settings)
    except InvalidConfig as error:
        raise InvalidConfig(f"{_PREFIX}{error.name.upper()}", error.value, error.allowed) from None


def _check_namespace(namespace: str) -> str:
    try:
        return check_name(f"{_PREFIX}NAMESPACE", namespace)
    except InvalidOption as error:
        raise InvalidConfig(error.name, error.value, error.allowed) from None


def _text(_: str, value: str) -> str:
    return value


def _whole_number(name: str, value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)

    raise InvalidConfig(name, value, "a whole number")


_LONGEST_NUMBER: Final = 18
_ON: Final = ("1", "true", "yes", "on")
_OFF: Final = ("0", "false", "no", "off")


def _switch(name: str, value: str) -> bool:
    if value.lower() in (*_ON, *_OFF):
        return value.lower() in _ON

    raise InvalidConfig(name, value, f"one of {', '.join((*_ON, *_OFF))}")


def _weights(name: str, value: str) -> dict[str, int]:
    queues: dict[str, int] = {}

    for part in value.split(","):
        queue, _, weight = part.partition("=")
        queue, weight = queue.strip(), weight.strip()
        name_alone, colon, digits = queue.rpartition(":")

        # A name may have colons, but hardly one that another notation of weights would be mistaken for.
        if "=" not in part and colon and digits.isdigit():
            hint = f"{name_alone}={digits} for a weight, or {queue}=1 for a queue of that name"
            raise InvalidConfig(name, value, hint)

        if not queue or queue in queues:
            raise InvalidConfig(name, value, "names with weights such as critical=6,default=3")

        queues[queue] = _whole_number(name, weight) if "=" in part else 1

    return queues


def _length(_: str, value: str) -> str | float:
    return duration_of_words(value)


_READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "TIMEZONE": _text,
    "TICK_INTERVAL": _length,
    "LEASE": _length,
    "SHUTDOWN_TIMEOUT": _length,
    "QUEUES": _weights,
    "STRICT_QUEUES": _switch,
    "MAX_PAYLOAD": _whole_number,
    "RESULT_TTL": _length,
    "FAILED_TTL": _length,
}
