"""The scripts as texts: whole, headed, and in agreement with what is written about them."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from anysched.backends import records
from anysched.backends.redis.link import Script
from anysched.backends.redis.scripts import all_scripts, put_off, script
from anysched.testing.resp import RespConnection

SCRIPTS = {script.name: script for script in all_scripts()}
LUA = files("anysched.backends.redis") / "lua"
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "redis.md"
GIVEN = {"redis", "string", "table", "math", "cmsgpack"}


def code(text: str) -> str:
    """A text without its strings and comments."""
    lines = (re.sub(r"'(?:[^'\\]|\\.)*'|\[==\[.*\]==\]", "''", line) for line in text.splitlines())
    return "\n".join(line.partition("--")[0] for line in lines)


def documented() -> set[str]:
    """The families of keys that the tables in the documentation list."""
    keys = DOCUMENTATION.read_text().partition("## A run's record")[0]
    return set(re.findall(r"^\| `([a-z-]+)[:<`]", keys, re.MULTILINE))


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_script_says_what_goes_in_and_out(script: Script) -> None:
    """Its header names each key and argument that the script itself reads."""
    own = (LUA / f"{script.name}.lua").read_text("utf-8")
    header = "".join(re.findall(r"^--.*\n", own.partition("\n\n")[0] + "\n", re.MULTILINE))

    assert "-- KEYS[1]  the prefix" in header
    assert set(re.findall(r"ARGV\[\d\]", code(own))) <= set(re.findall(r"ARGV\[\d\]", header))
    assert ("return cmsgpack" in own) <= ("-- Returns" in header)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_name_in_a_script_is_there(script: Script) -> None:
    """Redis finds a name that is missing only when it comes to it."""
    text = code(script.text)
    parts = dict(re.findall(r"^local (\w+) = (\{(?:.|\n)*?^\}|\{.*\}$)", text, re.MULTILINE))

    for part, name in set(re.findall(r"(?<![.\w])([a-z]\w*)\.([A-Za-z]\w*)", text)):
        defined = rf"^(function {part}\.{name}\(|\s*{part}\.{name} = )|, {part}\.{name} = "
        inside = re.search(rf"\b{name} = ", parts.get(part, ""))
        local = re.search(rf"\blocal [\w, ]*\b{part}\b|\([\w, ]*\b{part}\b|\bfor [\w, ]*\b{part}\b", text)
        assert part in GIVEN or inside or re.search(defined, text, re.MULTILINE) or (part not in parts and local), (
            f"{part}.{name}"
        )


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_nothing_is_in_a_script_that_it_does_not_name(script: Script) -> None:
    """It would be made anew at each call."""
    names = re.findall(r"^function (\w+\.\w+)\(", script.text, re.MULTILINE)
    names += re.findall(r"^local ([A-Z_]+) = \{\n", script.text, re.MULTILINE)

    uses = {name: len(re.findall(rf"(?<!function )\b{re.escape(name)}\b", script.text)) for name in names}
    assert [] == [name for name in names if uses[name] == 0]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_script_can_be_loaded(script: Script, store: RespConnection) -> None:
    """The server compiles it, and knows it by the hash that it is called by."""
    assert script.sha.encode() == store.command("SCRIPT", "LOAD", script.text)


def test_a_part_is_included_once() -> None:
    """However many parts ask for it; and a place of a field is a number by then."""
    text = script("work").text
    assert 1 == text.count("local places = {")
    assert "-- include:" not in text
    assert not re.search(r"\b(NEW_RUN|OUTCOME|CLAIM|FIRE|ENTRY|NODE)\.", code(text))


def test_what_both_backends_go_by_is_written_once() -> None:
    """In Python: no script has a value of its own for it."""
    shared = {name for name in vars(records) if name.isupper()}
    others = [file for folder in (LUA, LUA / "shared") for file in folder.iterdir() if file.name.endswith(".lua")]
    own = {name for file in others for name in re.findall(r"\b([A-Z_]+) = ", file.read_text("utf-8"))}

    assert {"MOST_ERRORS", "MOST_WAITING", "RETIRED", "SHORTEST_TTL_MS"} <= shared
    assert set() == shared & own


def test_every_key_is_documented() -> None:
    """And nothing is that does not exist. The channels stand in a sentence."""
    text = (LUA / "shared" / "keys.lua").read_text("utf-8")
    made = {name for name in re.findall(r"PREFIX \.\. '([a-z-]+):?'", text) if name not in {"hint", "hints", "nothing"}}

    assert made == documented()


def test_keys_are_made_in_one_place() -> None:
    """No other part puts one together."""
    others = [file for folder in (LUA, LUA / "shared") for file in folder.iterdir() if file.name.endswith(".lua")]
    found = [file.name for file in others if "PREFIX .." in file.read_text("utf-8")]

    assert ["keys.lua"] == found


def test_what_is_defined_lazily_is_defined_once(store: RespConnection) -> None:
    """When something is first asked for that is not there, whether or not it is among the definitions.

    Break: each look at what there is not runs all of them again.
    """
    part = "local part, times = {}, 0\n-- lazily: part\ntimes = times + 1\nfunction part.twice(x) return 2 * x end\n"
    asked = "return cjson.encode({times, part.none == nil, part.twice(21), part.none == nil, times})"

    assert b"[0,true,42,true,1]" == store.command("EVAL", put_off(part) + asked, "0")
