"""The options of jobs and of single runs: what may be given, whether it can be, and how it is stored.

Whatever a user writes is checked here, before anything else happens, and turned into what storage counts in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal, TypedDict

import msgspec

from anysched.clock import to_ms
from anysched.durations import LONGEST, Duration, parse_duration
from anysched.errors import CannotDecode, InvalidOption, NaiveDatetime
from anysched.fidelity import find_change
from anysched.identifiers import check_name
from anysched.retry import RetryPolicy
from anysched.values import is_whole

__all__ = [
    "NO_OPTIONS",
    "PRIORITIES",
    "SHORTEST_TTL_MS",
    "ByArguments",
    "EnqueueOptions",
    "JobOptions",
    "RunOptions",
    "RunSettings",
    "RunsIn",
    "by_arguments",
    "check_kind",
    "check_known",
    "check_priority",
    "check_retry",
    "decode_options",
    "encode_options",
    "metadata_size",
    "milliseconds",
    "require_aware",
    "settings_for",
]

PRIORITIES: Final = range(-100, 101)
"""The priorities there are; the highest goes first."""

RunsIn = Literal["loop", "thread", "process"]
"""Where a job's function is called."""

_MS: Final = timedelta(milliseconds=1)
_UNLIMITED: Final = -1
_LAST_YEAR: Final = 9000

SHORTEST_TTL_MS: Final = 10_000
"""So long an ended run is kept, whatever is asked for: whoever settles it twice must find it still there."""


class ByArguments(Enum):
    """The type of :data:`by_arguments`."""

    BY_ARGUMENTS = "by_arguments"


by_arguments: Final = ByArguments.BY_ARGUMENTS
"""Given as ``key``: one is made from the job and its arguments."""


class JobOptions(TypedDict, total=False):
    """What a job's decorator takes; see :class:`~anysched.job.Job`."""

    name: str
    queue: str
    priority: int
    timeout: Duration | None
    retry: RetryPolicy
    expires: Duration | None
    result_ttl: Duration | None
    max_concurrent: int | None
    runs_in: RunsIn


class EnqueueOptions(TypedDict, total=False):
    """What :meth:`Job.options <anysched.job.Job.options>` takes, for one run."""

    delay: Duration
    at: datetime
    queue: str
    priority: int
    timeout: Duration | None
    retry: RetryPolicy
    expires: Duration | datetime | None
    deadline: Duration | datetime | None
    key: str | Literal[ByArguments.BY_ARGUMENTS] | None
    run_id: str
    result_ttl: Duration | None
    metadata: Mapping[str, Any]


# --- what is stored ----------------------------------------------------------------------------------------------


class StoredOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """:class:`RunOptions` as JSON; ``timeout_ms`` is -1 for "unlimited", the policy is as its ``to_dict`` gives it."""

    timeout_ms: int | None = None
    retry: dict[str, Any] | None = None
    result_ttl_ms: int | None = None
    metadata: dict[str, Any] = {}


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has instead of its job's defaults, for the node that executes it.

    Attributes:
        timeout_ms: of one attempt; None: as the job says; -1: unlimited.
        retry: what follows a failed attempt; None: as the job says.
        result_ttl_ms: how long the ended run is kept; None: as the job says.
        metadata: what the caller attached.
    """

    timeout_ms: int | None = None
    retry: RetryPolicy | None = None
    result_ttl_ms: int | None = None
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def limit(self, default: timedelta | None) -> float | None:
        """The time limit of an attempt in seconds, where the job's is ``default``; None: unlimited."""
        if self.timeout_ms is None:
            return None if default is None else default.total_seconds()

        return None if self.timeout_ms == _UNLIMITED else self.timeout_ms / 1000

    def kept_for(self, of_job: timedelta | None, default: timedelta) -> int:
        """How long the ended run is kept, in milliseconds, by the run, else its job, else the configuration."""
        if self.result_ttl_ms is not None:
            return max(self.result_ttl_ms, SHORTEST_TTL_MS)

        return max(_in_ms(default if of_job is None else of_job), SHORTEST_TTL_MS)


NO_OPTIONS: Final = RunOptions()
"""What empty text stands for."""


@lru_cache
def _in_ms(length: timedelta) -> int:
    return length // _MS


_options_encoder = msgspec.json.Encoder(order="deterministic")
_options_decoder = msgspec.json.Decoder(StoredOptions)


def encode_options(options: RunOptions) -> str:
    """Options as text; empty if there are none. Equal options give equal text.

    Raises:
        InvalidOption: the strategy of the retry policy is a function.
    """
    if options == NO_OPTIONS:
        return ""

    stored = StoredOptions(
        timeout_ms=options.timeout_ms,
        retry=None if options.retry is None else options.retry.to_dict(),
        result_ttl_ms=options.result_ttl_ms,
        metadata=dict(options.metadata),
    )
    return _options_encoder.encode(stored).decode()


def decode_options(text: str, job: str = "?") -> RunOptions:
    """What :func:`encode_options` was given.

    Args:
        text: as stored.
        job: the job's name, for the error.

    Raises:
        CannotDecode: it is something else.
    """
    if not text:
        return NO_OPTIONS

    try:
        stored = _options_decoder.decode(text)
        retry = None if stored.retry is None else RetryPolicy.from_dict(stored.retry)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise CannotDecode("options", job, str(error)) from None

    return RunOptions(
        timeout_ms=stored.timeout_ms, retry=retry, result_ttl_ms=stored.result_ttl_ms, metadata=stored.metadata
    )


def metadata_size(text: str) -> int:
    """How many bytes the metadata takes in options as :func:`encode_options` gave them."""
    metadata = decode_options(text).metadata
    return len(_options_encoder.encode(metadata)) if metadata else 0


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when a run goes, in the names and units of storage; ``0`` and ``""`` stand for none.

    Attributes:
        options: :class:`RunOptions` as text.
        key_by_arguments: the key is made from the arguments.
    """

    queue: str = "default"
    priority: int = 0
    at_ms: int = 0
    delay_ms: int = 0
    expires_ms: int = 0
    expires_at_ms: int = 0
    deadline_ms: int = 0
    deadline_after_ms: int = 0
    key: str = ""
    key_by_arguments: bool = False
    run_id: str = ""
    options: str = ""


# --- what is given -----------------------------------------------------------------------------------------------


def check_known(options: Mapping[str, Any], allowed: type[Any]) -> None:
    """Refuse an option that a TypedDict does not have.

    Raises:
        InvalidOption: there is no such option; those that there are, are listed.
    """
    known: frozenset[str] = allowed.__optional_keys__

    for name in options:
        if name not in known:
            names = ", ".join(allowed.__annotations__)
            raise InvalidOption("option", name, f"one of {names}")


def check_kind(name: str, value: object, kind: type[Any], allowed: str) -> None:
    """Refuse a value that is no object of a class or protocol.

    Raises:
        InvalidOption: it is something else. A class is, too, also where its objects would do.
    """
    # A protocol asks only for methods, which a class has as well as its objects.
    if not isinstance(value, kind) or isinstance(value, type):
        raise InvalidOption(name, value, allowed)


def check_priority(value: object) -> int:
    """The value, if it is a priority."""
    if is_whole(value, PRIORITIES[0]) and value in PRIORITIES:
        return value

    allowed = f"a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}"
    raise InvalidOption("priority", value, allowed)


def require_aware(name: str, value: object) -> datetime:
    """The value, if it is an aware datetime before the year 9000.

    What is counted from it, up to :data:`~anysched.durations.LONGEST`, has to be an instant too.

    Raises:
        NaiveDatetime: it has no time zone.
        InvalidOption: it is no datetime, or later.
    """
    if not isinstance(value, datetime):
        raise InvalidOption(name, value, "an aware datetime")

    if value.utcoffset() is None:
        raise NaiveDatetime(name, value)

    if value.year >= _LAST_YEAR:
        raise InvalidOption(name, value.isoformat(), f"an instant before the year {_LAST_YEAR}")

    return value


def milliseconds(value: Duration, name: str, *, least: timedelta = timedelta(0)) -> int:
    """A length of time in whole milliseconds, rounded up, so that nothing is ever early.

    Raises:
        InvalidDuration: it cannot be read, is negative, less than ``least``, or more than a thousand years.
    """
    return -(-parse_duration(value, name=name, minimum=least, maximum=LONGEST) // _MS)


def settings_for(defaults: RunSettings, options: EnqueueOptions) -> RunSettings:
    """Settings with a user's options in place of the defaults, which may be the result of earlier options.

    Raises:
        InvalidOption: an option does not exist or has a value that is not allowed.
        InvalidDuration: a length of time cannot be read.
        NaiveDatetime: an instant has no time zone.
    """
    check_known(options, EnqueueOptions)

    if "delay" in options and "at" in options:
        raise InvalidOption("at", options["at"], "either at or delay, not both")

    stored = msgspec.structs.replace(decode_options(defaults.options), **_kept_with_run(options))
    changes: dict[str, Any] = {"options": encode_options(stored)}
    changes |= _place(options) | _times(options) | _names(options)

    return msgspec.structs.replace(defaults, **changes)


def _place(options: EnqueueOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}

    if "queue" in options:
        found["queue"] = check_name("queue", options["queue"])

    if "priority" in options:
        found["priority"] = check_priority(options["priority"])

    return found


def _times(options: EnqueueOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}

    if "delay" in options:
        found["delay_ms"], found["at_ms"] = milliseconds(options["delay"], "delay"), 0

    if "at" in options:
        found["delay_ms"], found["at_ms"] = 0, max(1, to_ms(require_aware("at", options["at"])))

    if "expires" in options:
        found["expires_at_ms"], found["expires_ms"] = _limit("expires", options["expires"])

    if "deadline" in options:
        found["deadline_ms"], found["deadline_after_ms"] = _limit("deadline", options["deadline"])

    return found


def _limit(name: str, value: Duration | datetime | None) -> tuple[int, int]:
    """An instant or a length of time, whichever was given."""
    if value is None:
        return 0, 0

    if isinstance(value, datetime):
        return max(1, to_ms(require_aware(name, value))), 0

    return 0, milliseconds(value, name, least=_MS)


def _names(options: EnqueueOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}

    if "key" in options:
        key = options["key"]
        found["key_by_arguments"] = key is by_arguments
        found["key"] = "" if key is by_arguments or key is None else check_name("key", key)

    if "run_id" in options:
        found["run_id"] = check_name("run_id", options["run_id"])

    return found


def _kept_with_run(options: EnqueueOptions) -> dict[str, Any]:
    """What :class:`RunOptions` has of them."""
    given: dict[str, Any] = {}

    if "timeout" in options:
        timeout = options["timeout"]
        given["timeout_ms"] = _UNLIMITED if timeout is None else milliseconds(timeout, "timeout", least=_MS)

    if "retry" in options:
        given["retry"] = check_retry(options["retry"])

    if "result_ttl" in options:
        ttl = options["result_ttl"]
        given["result_ttl_ms"] = None if ttl is None else milliseconds(ttl, "result_ttl")

    if "metadata" in options:
        given["metadata"] = _checked_metadata(options["metadata"])

    return given


def check_retry(value: object) -> RetryPolicy:
    """The value, if it is a policy."""
    if isinstance(value, RetryPolicy):
        return value

    raise InvalidOption("retry", value, "a RetryPolicy, RetryPolicy(max_retries=0) for no retries")


def _checked_metadata(value: Any) -> dict[str, Any]:
    """Metadata, if it comes back from JSON as what it was."""
    try:
        before = dict(value)
        after = msgspec.json.decode(msgspec.json.encode(before))
        change = find_change(before, after, "metadata")
    except Exception as error:  # noqa: BLE001 (it may hold anything, and equality is code)
        change = str(error)
    else:
        if change is None:
            return before

    allowed = f"a mapping from text to values that JSON has ({change})"
    raise InvalidOption("metadata", value, allowed)
