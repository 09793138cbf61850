"""How an application is found, and what is said when it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("attribute", ["scheduler", "make", "Holder.inner"])
def test_an_application_is_found(app, call: Call, attribute: str) -> None:
    """A name, a dotted name, and a function without arguments all lead to the scheduler, from the current directory."""
    status, out, _ = call("check", f"{app.name}:{attribute}")

    assert 0 == status
    assert f"{app.name}:{attribute} was imported" in out


@pytest.mark.parametrize(
    ("path", "status", "complaint"),
    [
        ("{name}", 2, "expected module:attribute"),
        (":scheduler", 2, "expected module:attribute"),
        (".{name}:scheduler", 2, "expected module:attribute"),
        ("..{name}:scheduler", 2, "expected module:attribute"),
        ("{name}:", 2, "expected module:attribute"),
        ("no.such.module:scheduler", 2, "no module named 'no'"),
        ("{name}.py:scheduler", 2, "leave out the .py"),
        ("{name}:schedular", 2, "no attribute 'schedular'; there is {name}:scheduler"),
        ("{name}:add.missing", 2, "no attribute 'missing'"),
        ("{name}:make_wrong", 2, "of type int: expected a Scheduler"),
        ("{name}:os", 2, "of type module: expected a Scheduler"),
        ("{name}:make_nothing", 1, "RuntimeError: no pool"),
    ],
)
def test_a_wrong_path_is_explained(app, call: Call, path: str, status: int, complaint: str) -> None:
    """What is missing is named, in one line; what raised in the application is its own fault, and status 1."""
    found, out, err = call("enqueue", path.format(name=app.name), "add", "1")

    assert (status, "") == (found, out)
    assert 1 == err.count("\n")
    assert err.startswith("anysched: error: ")
    assert complaint.format(name=app.name) in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_package", "ModuleNotFoundError"),
        ("x = (", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_fails_is_not_a_module_that_is_missing(app, call: Call, text: str, said: str) -> None:
    """An error inside of the application is shown as such; its traceback only if asked for."""
    app.write(text)
    status, _, err = call("enqueue", app.target, "add", "1")

    assert 1 == status
    assert f"importing '{app.name}' failed: {said}" in err
    assert "Traceback" not in err

    status, _, err = call("enqueue", app.target, "add", "1", "-v")

    assert 1 == status
    assert "Traceback" in err


def test_memory_is_not_shared(app, call: Call) -> None:
    """A command that would look into another process's memory says that it cannot."""
    for words in (("enqueue", app.target, "add", "1"), ("entries", "ls", app.target), ("stats", app.target)):
        status, out, err = call(*words)

        assert (1, "") == (status, out)
        assert "in its own process's memory" in err


def test_something_has_to_be_named(call: Call) -> None:
    """Without an application, an address and a variable there is nothing to talk to."""
    status, _, err = call("runs", "ls")

    assert 2 == status
    assert "ANYSCHED_BACKEND" in err


def test_an_application_has_its_own_backend(app, call: Call) -> None:
    """An address beside an application is refused rather than ignored."""
    status, _, err = call("stats", app.target, "--backend", "redis://localhost")

    assert 2 == status
    assert "leave out --backend" in err
