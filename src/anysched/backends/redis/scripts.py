"""The scripts, read from their files.

A script is ``lua/<name>.lua``. Two things are done to its text:

* ``-- include: <part>`` is replaced by ``lua/shared/<part>.lua``, each part once, at its first mention. The part
  ``constants`` is made here, from the constants that both backends share.
* ``NEW_RUN.id`` and the like become numbers: the places of fields in the arrays that stand for our records on the way
  in (see :mod:`.wire`). They follow the order of the fields in :mod:`anysched.backends.records`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec

from anysched.backends.records import (
    NAMED_AT_RENEWAL,
    POISON_CRASHES,
    POISON_ERROR,
    POISON_WINDOW_MS,
    Claim,
    EntryWrite,
    Fire,
    NewRun,
    NodeInfo,
    Outcome,
)
from anysched.backends.redis.link import Script

__all__ = ["all_scripts", "script"]

_FOLDER = files("anysched.backends.redis") / "lua"

_INCLUDE = re.compile(r"^-- include: ([a-z]+)\n", re.MULTILINE)
_PLACE = re.compile(r"\b(NEW_RUN|OUTCOME|CLAIM|FIRE|ENTRY|NODE)\.([a-z_]+)")

_LAYOUTS: dict[str, type[msgspec.Struct]] = {
    "NEW_RUN": NewRun,
    "OUTCOME": Outcome,
    "CLAIM": Claim,
    "FIRE": Fire,
    "ENTRY": EntryWrite,
    "NODE": NodeInfo,
}

_CONSTANTS = f"""\
local NAMED_AT_RENEWAL = {NAMED_AT_RENEWAL}
local POISON_CRASHES = {POISON_CRASHES}
local POISON_WINDOW_MS = {POISON_WINDOW_MS}
local POISON_ERROR = [==[{POISON_ERROR}]==]
"""


@cache
def script(name: str) -> Script:
    """The script of that name, whole."""
    text = _included(_read(f"{name}.lua"), set())
    return Script(name, _PLACE.sub(_place, text))


def all_scripts() -> list[Script]:
    """Every script there is."""
    names = sorted(file.name for file in _FOLDER.iterdir() if file.name.endswith(".lua"))
    return [script(name.removesuffix(".lua")) for name in names]


def _included(text: str, seen: set[str]) -> str:
    """The text with its includes in it, but for those that were included before."""

    def part(match: re.Match[str]) -> str:
        name = match[1]

        if name in seen:
            return ""

        seen.add(name)
        return _CONSTANTS if name == "constants" else _included(_read(f"shared/{name}.lua"), seen)

    return _INCLUDE.sub(part, text)


def _read(path: str) -> str:
    return _FOLDER.joinpath(path).read_text("utf-8")


def _place(match: re.Match[str]) -> str:
    return str(_LAYOUTS[match[1]].__struct_fields__.index(match[2]) + 1)
