"""The command line as such: words in any order, help for everything, scripts for shells."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anysched.cli.completing import words_by_command
from anysched.cli.tree import build_parser

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    "line",
    [
        "entries show app:scheduler ID --json",
        "entries show app:scheduler --json ID",
        "entries show --json app:scheduler ID",
        "-v entries show app:scheduler --json ID",
        "entries show app:scheduler ID -v --json",
    ],
)
def test_options_may_stand_anywhere(line: str) -> None:
    """The application and the id are told apart wherever an option stands between them."""
    found = build_parser().parse_args(line.split())

    assert ("app:scheduler", "ID", True) == (found.target, found.id, found.json)
    assert ("-v" in line) == found.verbose


def test_the_application_may_be_left_out() -> None:
    """With an address instead, the only word is the id."""
    found = build_parser().parse_args(["entries", "show", "ID", "--backend", "redis://x"])

    assert (None, "ID") == (found.target, found.id)


def test_negative_numbers_are_arguments() -> None:
    """A number with a sign is no option."""
    numbers = ["-5", "-1.5", "-1.5e3", "-2E-7", "-1e+2", "-0.0"]
    found = build_parser().parse_args(["enqueue", "app:scheduler", "job", *numbers[:3], "--wait", *numbers[3:]])

    assert numbers == found.values


@pytest.mark.parametrize("group", ["entries", "runs", "queues", "nodes"])
@pytest.mark.parametrize("words", ["", "app:scheduler", "app:scheduler --json", "--json app:scheduler", "--backend x"])
def test_to_list_is_what_is_meant(group: str, words: str) -> None:
    """Where no command is named; an application has a colon, which no command has."""
    parser = build_parser()

    assert parser.parse_args([group, "ls", *words.split()]) == parser.parse_args([group, *words.split()])


@pytest.mark.parametrize("path", [path for path in words_by_command(build_parser()) if path])
def test_every_command_has_help(call: Call, path: str) -> None:
    """``--help`` works everywhere, and a command that reads documents the fields of its JSON."""
    status, out, _ = call(*path.split("/"), "--help")

    assert 0 == status
    assert out.startswith("usage: anysched")
    assert ("--json" in out) == ("--json prints these fields" in out)


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("run", "--loop", "twisted"), ("runs", "ls", "--limit", "0"), ("entries", "lst")]
)
def test_a_senseless_line_is_refused(call: Call, words: tuple[str, ...]) -> None:
    """A line that cannot be parsed has exit status 2."""
    status, _, err = call(*words)

    assert 2 == status
    assert "usage: anysched" in err


def test_bash_completes() -> None:
    """The script for bash knows commands, their commands, options and choices."""
    script = subprocess.run(["bash", "-c", BASH], input=_script("bash"), capture_output=True, text=True, check=True)

    assert "demo enqueue entries" in script.stdout
    assert "ls pause remove resume show trigger" in script.stdout
    assert "asyncio uvloop trio" in script.stdout
    assert "--status" in script.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_told_every_command(call: Call, shell: str) -> None:
    """Each script names each command and option."""
    status, out, _ = call("completion", shell)

    assert 0 == status
    assert [] == [
        word for words in words_by_command(build_parser()).values() for word in words if _bare(word) not in out
    ]


BASH = """
source /dev/stdin
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _anysched; echo "${COMPREPLY[*]}"; }
complete_line anysched ""
complete_line anysched entries ""
complete_line anysched run --loop ""
complete_line anysched runs ls --st
"""


def _script(shell: str) -> str:
    import contextlib
    import io

    from anysched.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["completion", shell])

    return printed.getvalue()


def _bare(word: str) -> str:
    return word.removeprefix("--")
