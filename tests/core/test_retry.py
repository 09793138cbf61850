"""What follows a failed attempt."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.errors import AnySchedError, InvalidDuration, InvalidOption
from anysched.retry import Decision, DoNotRetry, RetryAfter, RetryPolicy, Snooze, decide


def seconds(policy: RetryPolicy, attempts: int = 5) -> list[float]:
    return [policy.delay(attempt, random=lambda: 0.5).total_seconds() for attempt in range(1, attempts + 1)]


# --- delays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(), [1, 2, 4, 8, 16]),
        (RetryPolicy(maximum="5s"), [1, 2, 4, 5, 5]),
        (RetryPolicy(initial="100ms", multiplier=3), [0.1, 0.3, 0.9, 2.7, 8.1]),
        (RetryPolicy(multiplier=1), [1, 1, 1, 1, 1]),
        (RetryPolicy(initial=0), [0, 0, 0, 0, 0]),
        (RetryPolicy(initial="5s", strategy="linear"), [5, 10, 15, 20, 25]),
        (RetryPolicy(initial="10s", strategy="linear"), [10, 20, 30, 30, 30]),
        (RetryPolicy(initial="10s", strategy="fixed"), [10, 10, 10, 10, 10]),
        (RetryPolicy(strategy=lambda attempt: f"{attempt}s"), [1, 2, 3, 4, 5]),
        (RetryPolicy(strategy=lambda attempt: 10.0 * attempt, maximum="35s"), [10, 20, 30, 35, 35]),
        (RetryPolicy(initial="10s", strategy="fixed", jitter=0.2), [9, 9, 9, 9, 9]),
        (RetryPolicy(initial="10s", strategy="fixed", jitter=1), [5, 5, 5, 5, 5]),
    ],
)
def test_delays_grow_as_the_strategy_says(policy: RetryPolicy, expected: list[float]) -> None:
    """Never beyond the maximum; jitter only shortens."""
    assert expected == seconds(policy)


@given(
    st.integers(1, 10_000),
    st.sampled_from(["exponential", "linear", "fixed"]),
    st.floats(1, 1e300),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_no_delay_overflows_or_leaves_its_bounds(
    attempt: int, strategy: Any, multiplier: float, jitter: float, chance: float
) -> None:
    """Not even at attempt 10,000."""
    policy = RetryPolicy(strategy=strategy, multiplier=multiplier, jitter=jitter)

    assert timedelta(0) <= policy.delay(attempt, random=lambda: chance) <= timedelta(seconds=30)


def test_the_longest_policy_does_not_overflow() -> None:
    """As long as a timedelta can be."""
    policy = RetryPolicy(maximum=timedelta.max, multiplier=1e300)

    assert timedelta.max == policy.delay(10_000)


# --- what cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_retries": -1}, "invalid max_retries -1: expected a whole number from 0"),
        ({"max_retries": 1.5}, "invalid max_retries 1.5"),
        ({"max_retries": True}, "invalid max_retries True"),
        ({"multiplier": 0.5}, "invalid multiplier 0.5: expected a number from 1"),
        ({"multiplier": float("inf")}, "invalid multiplier inf"),
        ({"multiplier": 10**400}, "invalid multiplier an integer of some 400 digits"),
        ({"jitter": 1.1}, "invalid jitter 1.1: expected a number from 0 to 1"),
        ({"jitter": float("nan")}, "invalid jitter nan"),
        ({"jitter": "0"}, "invalid jitter '0'"),
        ({"strategy": "quadratic"}, "invalid strategy 'quadratic': expected one of exponential, linear, fixed"),
        ({"initial": "1m"}, "invalid initial '1m': expected at most maximum, which is 30s"),
        ({"retry_on": 5}, "invalid retry_on 5: expected exception classes"),
        ({"retry_on": (ValueError, int)}, "invalid retry_on <class 'int'>"),
        ({"give_up_on": [""]}, "invalid give_up_on ''"),
        (
            {"retry_on": "Flaky"},
            "invalid retry_on 'Flaky': expected exception classes, or their names as 'module.qualname'",
        ),
        ({"retry_on": ["app..Flaky"]}, "invalid retry_on 'app..Flaky'"),
        ({"give_up_on": "int"}, "invalid give_up_on 'int'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(options: dict[str, Any], complaint: str) -> None:
    """The option, its value and what is allowed are named."""
    with pytest.raises(InvalidOption) as caught:
        RetryPolicy(**options)

    assert complaint in str(caught.value)


@pytest.mark.parametrize("options", [{"initial": "soon"}, {"maximum": -1}])
def test_a_length_of_time_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    """As everywhere."""
    with pytest.raises(InvalidDuration):
        RetryPolicy(**options)


# --- decisions ---------------------------------------------------------------------------------------------------

POLICY = RetryPolicy(max_retries=2, give_up_on=(KeyError,))
NETWORK = RetryPolicy(max_retries=None, retry_on=(OSError,), give_up_on="builtins.FileNotFoundError")
BY_NAME = RetryPolicy(retry_on=("builtins.LookupError",), give_up_on=["builtins.IndexError"])


def group(*errors: Exception) -> Exception:
    return ExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("error", "policy", "attempt", "expected"),
    [
        (ValueError(), POLICY, 1, Decision("retry", timedelta(seconds=1))),
        (ValueError(), POLICY, 2, Decision("retry", timedelta(seconds=2))),
        (ValueError(), POLICY, 3, Decision("fail", reason="no retries left")),
        (ValueError(), RetryPolicy(max_retries=0), 1, Decision("fail", reason="no retries left")),
        (KeyError(), POLICY, 1, Decision("fail", reason="KeyError is not retried")),
        (DoNotRetry("bad address"), POLICY, 1, Decision("fail", reason="not to be retried")),
        (RetryAfter("1h"), POLICY, 1, Decision("retry", timedelta(hours=1))),
        (RetryAfter("1h"), POLICY, 3, Decision("fail", reason="no retries left")),
        (RetryAfter("1h"), NETWORK, 1, Decision("retry", timedelta(hours=1))),
        (Snooze("1h"), POLICY, 3, Decision("snooze", timedelta(hours=1))),
        (Snooze("1h"), RetryPolicy(max_retries=0), 1, Decision("snooze", timedelta(hours=1))),
        (ConnectionError(), NETWORK, 10_000, Decision("retry", timedelta(seconds=30))),
        (ValueError(), NETWORK, 1, Decision("fail", reason="ValueError is not retried")),
        (FileNotFoundError(), NETWORK, 1, Decision("fail", reason="FileNotFoundError is not retried")),
        (KeyError(), BY_NAME, 1, Decision("retry", timedelta(seconds=1))),
        (IndexError(), BY_NAME, 1, Decision("fail", reason="IndexError is not retried")),
        (ValueError(), BY_NAME, 1, Decision("fail", reason="ValueError is not retried")),
        (group(ValueError(), group(TypeError())), POLICY, 1, Decision("retry", timedelta(seconds=1))),
        (group(ValueError(), group(KeyError())), POLICY, 1, Decision("fail", reason="KeyError is not retried")),
        (group(ValueError(), DoNotRetry()), POLICY, 1, Decision("fail", reason="not to be retried")),
        (group(Snooze(5), Snooze(9)), POLICY, 3, Decision("snooze", timedelta(seconds=9))),
        (group(Snooze(5), ValueError()), POLICY, 1, Decision("retry", timedelta(seconds=5))),
        (group(RetryAfter(5), RetryAfter(9), ValueError()), POLICY, 1, Decision("retry", timedelta(seconds=9))),
        (group(RetryAfter(5), KeyError()), POLICY, 1, Decision("fail", reason="KeyError is not retried")),
        (
            group(OSError(), FileNotFoundError()),
            NETWORK,
            1,
            Decision("fail", reason="FileNotFoundError is not retried"),
        ),
    ],
    ids=repr,
)
def test_what_follows_a_failed_attempt(error: Exception, policy: RetryPolicy, attempt: int, expected: Decision) -> None:
    """Groups are judged by their leaves; names count along the whole line of classes."""
    assert expected == decide(error, policy=policy, attempt=attempt)


def without_delay(kind: type[Any]) -> Exception:
    error: Exception = kind("1s")
    del error.__dict__["delay"]
    return error


@pytest.mark.parametrize("kind", [RetryAfter, Snooze])
def test_a_delay_that_was_never_set_cannot_be_waited_for(kind: type[Any]) -> None:
    """A subclass may never have called the `__init__` that sets it. It fails, also among others."""
    expected = Decision("fail", reason=f"the delay of {kind.__name__} is no length of time from 0")

    for error in (without_delay(kind), group(kind("1s"), without_delay(kind))):
        assert expected == decide(error, policy=POLICY, attempt=1)


def test_a_group_may_be_nested_without_end() -> None:
    """It is judged by what is in it all the same."""
    error: Exception = KeyError()

    for _ in range(5_000):
        error = group(error)

    assert Decision("fail", reason="KeyError is not retried") == decide(error, policy=POLICY, attempt=1)


def broken_strategy(attempt: int) -> float:
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize("strategy", [broken_strategy, lambda _: -5, lambda _: "soon", lambda _: None])
def test_a_broken_strategy_fails_the_run_and_nothing_else(strategy: Any) -> None:
    """With a reason that says so."""
    decision = decide(ValueError(), policy=RetryPolicy(strategy=strategy), attempt=1)

    assert "fail" == decision.kind
    assert "the retry strategy raised" in decision.reason
    assert isinstance(decision.broken, ZeroDivisionError | InvalidDuration)


# --- what handlers raise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RetryAfter("90s"), Snooze(1.5), DoNotRetry("bad address")])
def test_what_handlers_raise_survives_the_way_between_processes(error: AnySchedError) -> None:
    """A job may run in another process, and its exceptions are pickled."""
    back = pickle.loads(pickle.dumps(error))

    assert type(error) is type(back)
    assert (str(error), error.__dict__) == (str(back), back.__dict__)


def test_what_handlers_raise_is_checked_where_it_is_written() -> None:
    """A delay that cannot be is an error of the handler."""
    for kind in (RetryAfter, Snooze):
        with pytest.raises(InvalidDuration):
            kind("-1s")


# --- stored with a run -------------------------------------------------------------------------------------------


policies = st.builds(
    RetryPolicy,
    max_retries=st.none() | st.integers(0, 10**9),
    initial=st.timedeltas(timedelta(0), timedelta(days=1)),
    maximum=st.timedeltas(timedelta(days=1), timedelta.max),
    multiplier=st.floats(1, 1e300),
    strategy=st.sampled_from(["exponential", "linear", "fixed"]),
    jitter=st.floats(0, 1),
    retry_on=st.lists(st.sampled_from(["builtins.OSError", "a.b.C"])),
    give_up_on=st.lists(st.sampled_from(["builtins.OSError", "a.b.C"])),
)


@given(policies)
def test_a_policy_comes_back_from_storage(policy: RetryPolicy) -> None:
    """As JSON, exactly."""
    assert policy == RetryPolicy.from_dict(json.loads(json.dumps(policy.to_dict())))


def test_a_stored_policy_knows_classes_by_name() -> None:
    """The node that executes the run need not have the class."""
    policy = RetryPolicy(max_retries=5, retry_on=(OSError, "my.Error"))
    stored = policy.to_dict()

    assert {"max_retries": 5, "retry_on": ["builtins.OSError", "my.Error"]} == stored
    assert "retry" == decide(ConnectionError(), policy=RetryPolicy.from_dict(stored), attempt=1).kind
    assert "fail" == decide(ValueError(), policy=RetryPolicy.from_dict(stored), attempt=1).kind


def test_a_built_in_class_needs_no_module_in_its_name() -> None:
    """Without it the name would be nobody's."""
    policy = RetryPolicy(retry_on="LookupError")

    assert ["builtins.LookupError"] == policy.to_dict()["retry_on"]
    assert "retry" == decide(KeyError(), policy=policy, attempt=1).kind
    assert "fail" == decide(ValueError(), policy=policy, attempt=1).kind


SCRIPT = """
import json, sys
from anysched import RetryPolicy
from anysched.retry import decide

class Flaky(Exception):
    pass

policy = RetryPolicy(retry_on=(Flaky,))

if __name__ == "__main__":
    stored = policy.to_dict()
    by_name = [RetryPolicy.from_dict(stored), RetryPolicy(retry_on="__main__.Flaky")]
    print(json.dumps([stored, [decide(Flaky(), policy=one, attempt=1).kind for one in (policy, *by_name)]]))
"""


@pytest.mark.parametrize("started", [["{}/flaky_script.py"], ["-m", "flaky_script"]], ids=["as a file", "as a module"])
def test_a_class_of_the_started_script_is_known_to_whoever_imports_it(
    started: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the script enqueues may be executed by a worker that was started otherwise.

    Break: the policy is stored with `__main__.Flaky`, which the worker has not, so that it never retries.
    """
    (tmp_path / "flaky_script.py").write_text(SCRIPT)
    command = [sys.executable, *(one.format(tmp_path) for one in started)]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True, env=where)
    stored, decided = json.loads(done.stdout)
    monkeypatch.syspath_prepend(tmp_path)
    error: Exception = import_module("flaky_script").Flaky()
    del sys.modules["flaky_script"]

    assert ["retry"] * 3 == decided
    assert "retry" == decide(error, policy=RetryPolicy.from_dict(stored), attempt=1).kind
    assert "fail" == decide(ValueError(), policy=RetryPolicy.from_dict(stored), attempt=1).kind


def test_a_function_cannot_be_stored() -> None:
    """It is said what to do instead."""
    with pytest.raises(InvalidOption, match="a function cannot be stored with a run; give it to the job"):
        RetryPolicy(strategy=lambda attempt: attempt).to_dict()


def test_a_stored_policy_of_a_newer_kind_is_refused() -> None:
    """An option that is not known changes what the policy means."""
    with pytest.raises(InvalidOption, match="invalid retry 'backoff'"):
        RetryPolicy.from_dict({"backoff": 3})
