"""What happens after a failed attempt: the policy, what a handler may raise to overrule it, and the decision."""

from __future__ import annotations

import builtins
import math
import random as _random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec
from attrs import Attribute, field, frozen

from anysched.attempt_errors import describe_error
from anysched.durations import LONGEST, Duration, format_duration, parse_duration
from anysched.errors import AnySchedError, InvalidOption
from anysched.values import is_whole

__all__ = ["Decision", "DoNotRetry", "RetryAfter", "RetryPolicy", "Snooze", "Strategy", "decide"]

Strategy: TypeAlias = Literal["exponential", "linear", "fixed"] | Callable[[int], Duration]
"""How delays grow; a function gets the number of the attempt that failed, from 1, and returns the delay."""

ErrorNames: TypeAlias = tuple[type[BaseException] | str, ...]

_ErrorsGiven: TypeAlias = Sequence[type[BaseException] | str] | type[BaseException]

_STRATEGIES: Final = ("exponential", "linear", "fixed")
_ERRORS_ALLOWED: Final = "exception classes, or their names as 'module.qualname', such as 'app.tasks.Busy'"
_MICROSECOND: Final = timedelta(microseconds=1)


# --- what a handler may raise ------------------------------------------------------------------------------------


class RetryAfter(AnySchedError):
    """Raised by a handler: the attempt failed, and the next one is to come after this long.

    It uses up an attempt. The delay is taken as it is, also where the policy's ``maximum`` is less.

    Args:
        delay: how long.
    """

    def __init__(self, delay: Duration) -> None:
        self.delay: timedelta = parse_duration(delay, name="delay", maximum=LONGEST)
        super().__init__(f"to be retried after {format_duration(self.delay)}")


class Snooze(AnySchedError):
    """Raised by a handler: not now, again after this long. It uses up no attempt.

    Args:
        delay: how long.
    """

    def __init__(self, delay: Duration) -> None:
        self.delay: timedelta = parse_duration(delay, name="delay", maximum=LONGEST)
        super().__init__(f"snoozed for {format_duration(self.delay)}")


class DoNotRetry(AnySchedError):
    """Raised by a handler: the run has failed for good, whatever attempts are left.

    Args:
        reason: why, for people.
    """

    def __init__(self, reason: str = "the handler said so") -> None:
        super().__init__(reason)
        self.reason = reason


# --- the policy --------------------------------------------------------------------------------------------------


def _check_retries(_: object, __: Attribute[Any], value: object) -> None:
    if value is not None and not is_whole(value, 0):
        raise InvalidOption("max_retries", value, "a whole number from 0, or None for no limit")


def _check_strategy(_: object, __: Attribute[Any], value: object) -> None:
    if value not in _STRATEGIES and not callable(value):
        raise InvalidOption("strategy", value, f"one of {', '.join(_STRATEGIES)}, or a function")


# A type checker takes a parameter's type from its converter, and that of a call's result it does not work out: so each
# converter is a function with a name.


def _to_initial(value: Duration) -> timedelta:
    return parse_duration(value, name="initial")


def _to_maximum(value: Duration) -> timedelta:
    return parse_duration(value, name="maximum")


def _to_multiplier(value: float) -> float:
    return _number_of("multiplier", value, 1, math.inf)


def _to_jitter(value: float) -> float:
    return _number_of("jitter", value, 0, 1)


def _to_retry_on(value: _ErrorsGiven) -> ErrorNames:
    return _errors_of("retry_on", value)


def _to_give_up_on(value: _ErrorsGiven) -> ErrorNames:
    return _errors_of("give_up_on", value)


def _number_of(name: str, value: Any, lowest: float, highest: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)

    # A comparison with NaN is false.
    if number and lowest <= value <= highest:
        # Of an integer that is too large for one it raises.
        with suppress(OverflowError):
            if math.isfinite(value):
                return float(value)

    most = f" to {highest:g}" if math.isfinite(highest) else ""
    raise InvalidOption(name, value, f"a number from {lowest:g}{most}")


def _errors_of(name: str, value: Any) -> ErrorNames:
    items: tuple[Any, ...] = tuple(cast("list[Any]", value)) if isinstance(value, tuple | list) else (value,)

    for item in items:
        if not _is_error(item) and not (isinstance(item, str) and _is_name(item)):
            raise InvalidOption(name, cast("Any", item), _ERRORS_ALLOWED)

    return tuple(f"builtins.{item}" if isinstance(item, str) and "." not in item else item for item in items)


def _is_name(text: str) -> bool:
    """Whether it can be a class's name: of one that is built in it does without the module."""
    return all(text.split(".")) if "." in text else _is_error(getattr(builtins, text, None))


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


@frozen(kw_only=True)
class RetryPolicy:
    """Whether and when a failed attempt is followed by another.

    Args:
        max_retries: attempts after the first; None: no limit.
        initial: the delay after the first attempt.
        maximum: no delay of the policy is longer.
        multiplier: from one delay to the next, at least 1; for ``"exponential"``.
        strategy: ``"exponential"``: 1s 2s 4s 8s; ``"linear"``: 5s 10s 15s; ``"fixed"``: 10s 10s 10s; or a function of
            the number of the failed attempt. If that raises, the run fails, and the error handler is told.
        jitter: which part of each delay is left to chance, 0 to 1: a delay of 10 s with a jitter of 0.2 becomes
            anything from 8 s to 10 s, so that what failed together does not come back together.
        retry_on: what is retried: classes, or names as ``"module.qualname"``, of a built-in class without the module;
            their subclasses are, too. Stored with a run, a class of the started script has the name that it has to
            whoever imports that.
        give_up_on: what is not, though it is of a class in ``retry_on``.

    Raises:
        InvalidOption: one of them cannot be; also ``initial`` beyond ``maximum``.
        InvalidDuration: a length of time cannot be read.
    """

    max_retries: int | None = field(default=3, validator=_check_retries)
    initial: timedelta = field(default=timedelta(seconds=1), converter=_to_initial)
    maximum: timedelta = field(default=timedelta(seconds=30), converter=_to_maximum)
    multiplier: float = field(default=2.0, converter=_to_multiplier)
    strategy: Strategy = field(default="exponential", validator=_check_strategy)
    jitter: float = field(default=0.0, converter=_to_jitter)
    retry_on: ErrorNames = field(default=(Exception,), converter=_to_retry_on)
    give_up_on: ErrorNames = field(default=(), converter=_to_give_up_on)

    def __attrs_post_init__(self) -> None:
        if self.initial > self.maximum:
            allowed = f"at most maximum, which is {format_duration(self.maximum)}: raise that too"
            raise InvalidOption("initial", format_duration(self.initial), allowed)

    def delay(self, attempt: int, *, random: Callable[[], float] = _random.random) -> timedelta:
        """How long to wait after a failed attempt.

        Args:
            attempt: the number of the attempt that failed, from 1.
            random: gives a number from 0 up to 1.
        """
        longest = self.maximum // _MICROSECOND
        delay = min(self._microseconds(attempt), longest)

        if self.jitter:
            delay -= delay * self.jitter * random()

        return timedelta(microseconds=round(delay))

    def retries(self, error: BaseException) -> bool:
        """Whether an exception that is not a group is one to be retried."""
        kinds = type(error).__mro__
        names = {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds} | {_name_of(kind) for kind in kinds}
        return _matches(error, names, self.retry_on) and not _matches(error, names, self.give_up_on)

    def _microseconds(self, attempt: int) -> float:
        initial = self.initial // _MICROSECOND

        if callable(self.strategy):
            return parse_duration(self.strategy(attempt), name="delay") // _MICROSECOND

        if self.strategy == "linear":
            return initial * attempt

        if self.strategy == "fixed":
            return initial

        try:
            return initial * self.multiplier ** (attempt - 1)
        except OverflowError:
            return math.inf if initial else 0

    # --- stored with a run -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as values that JSON has.

        Raises:
            InvalidOption: the strategy is a function.
        """
        if callable(self.strategy):
            allowed = f"one of {', '.join(_STRATEGIES)}: a function cannot be stored with a run; give it to the job"
            raise InvalidOption("strategy", self.strategy, allowed)

        stored = {
            "max_retries": self.max_retries,
            "initial": format_duration(self.initial),
            "maximum": format_duration(self.maximum),
            "multiplier": self.multiplier,
            "strategy": self.strategy,
            "jitter": self.jitter,
            "retry_on": _names_of(self.retry_on),
            "give_up_on": _names_of(self.give_up_on),
        }

        return {name: value for name, value in stored.items() if value != _STORED_DEFAULTS[name]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> RetryPolicy:
        """What :meth:`to_dict` gave, with classes as names.

        Raises:
            InvalidOption: it is something else.
        """
        allowed = ", ".join(_STORED_DEFAULTS)

        for name in stored:
            if name not in _STORED_DEFAULTS:
                raise InvalidOption("retry", name, allowed)

        return cls(**stored)


def _names_of(errors: ErrorNames) -> list[str]:
    return [error if isinstance(error, str) else _name_of(error) for error in errors]


def _name_of(kind: type[Any]) -> str:
    """The name that a class has everywhere: the started script is a module of another name to whoever imports it."""
    return f"{_main_module() if kind.__module__ == '__main__' else kind.__module__}.{kind.__qualname__}"


def _main_module() -> str:
    main = sys.modules.get("__main__")
    spec, path = getattr(main, "__spec__", None), getattr(main, "__file__", None)

    if spec is not None:
        return cast("str", spec.name)

    return Path(path).stem if path else "__main__"


_STORED_DEFAULTS: Final[Mapping[str, Any]] = {
    "max_retries": 3,
    "initial": "1s",
    "maximum": "30s",
    "multiplier": 2.0,
    "strategy": "exponential",
    "jitter": 0.0,
    "retry_on": ["builtins.Exception"],
    "give_up_on": [],
}


def _matches(error: BaseException, names: set[str], wanted: ErrorNames) -> bool:
    return any(one in names if isinstance(one, str) else isinstance(error, one) for one in wanted)


# --- the decision ------------------------------------------------------------------------------------------------


class Decision(msgspec.Struct, frozen=True):
    """What is to be done about a failed attempt.

    Attributes:
        kind: ``"retry"``, ``"fail"`` for good, or ``"snooze"``.
        delay: how long to wait before the next attempt.
        reason: why it is ``"fail"``, in a few words.
        broken: what the policy's own strategy raised, or what was wrong with what it returned.
    """

    kind: Literal["retry", "fail", "snooze"]
    delay: timedelta = timedelta(0)
    reason: str = ""
    broken: Exception | None = None


def decide(
    error: BaseException, *, policy: RetryPolicy, attempt: int, random: Callable[[], float] = _random.random
) -> Decision:
    """Decide what follows from what an attempt raised. Deadlines are the caller's business.

    A group is judged by its leaves. One that must not be retried is enough to fail; it snoozes only if all of them
    do; of several delays the longest counts.

    Args:
        error: what it raised.
        policy: the run's.
        attempt: its number, from 1.
        random: for the jitter.
    """
    leaves = list(_leaves(error))
    asked = [leaf.delay for leaf in leaves if isinstance(leaf, RetryAfter | Snooze) and _has_delay(leaf)]

    if asked and len(asked) == len(leaves) and all(isinstance(leaf, Snooze) for leaf in leaves):
        return Decision("snooze", max(asked))

    refused = next(filter(None, (_refusal(leaf, policy) for leaf in leaves)), "")

    if not refused and policy.max_retries is not None and attempt > policy.max_retries:
        refused = "no retries left"

    if refused:
        return Decision("fail", reason=refused)

    try:
        return Decision("retry", max(asked) if asked else policy.delay(attempt, random=random))
    except Exception as broken:  # noqa: BLE001 (a strategy is the user's code)
        return Decision("fail", reason=f"the retry strategy raised {describe_error(broken)}", broken=broken)


def _refusal(leaf: BaseException, policy: RetryPolicy) -> str:
    """Why an exception must not be retried, or nothing."""
    if isinstance(leaf, DoNotRetry):
        return "not to be retried"

    if isinstance(leaf, RetryAfter | Snooze):
        return "" if _has_delay(leaf) else f"the delay of {type(leaf).__name__} is no length of time from 0"

    return "" if policy.retries(leaf) else f"{type(leaf).__name__} is not retried"


def _has_delay(leaf: RetryAfter | Snooze) -> bool:
    """Whether its delay can be had: a subclass may never have called ``__init__``, and an attribute can be set."""
    delay: object = getattr(leaf, "delay", None)
    return isinstance(delay, timedelta) and delay >= timedelta(0)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    # Without recursion: a group may be nested deeper than that goes.
    left = [error]

    while left:
        one = left.pop()

        if isinstance(one, BaseExceptionGroup):
            left.extend(reversed(cast("BaseExceptionGroup[BaseException]", one).exceptions))
        else:
            yield one
