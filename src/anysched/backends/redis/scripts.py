"""The scripts, read from their files.

A script is ``lua/<name>.lua``. This is done to its text:

* ``-- include: <part>`` is replaced by ``lua/shared/<part>.lua``, each part once, at its first mention. The part
  ``constants`` is made here, from the constants that both backends share.
* ``NEW_RUN.id`` and the like become numbers: the places of fields in the arrays that stand for our records on the way
  in (see :mod:`.wire`). They follow the order of the fields in :mod:`anysched.backends.records`.

A script is run from its first line at each call, so what it defines costs as much as what it does: after a pause, when
the processor has forgotten it, several times as much as the commands. Hence three things more:

* What is not named is left out, as are comments.
* What follows ``-- lazily: <table>`` in a part is defined when something of that table is asked for that is not there.
  (So its fields are never ``nil``, but ``false``.)
* ``keys.run(id)`` and the like are replaced by what they stand for.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec

from anysched.backends import records
from anysched.backends.records import Claim, EntryWrite, Fire, NewRun, NodeInfo, Outcome
from anysched.backends.redis.link import Script

__all__ = ["all_scripts", "put_off", "script"]

_FOLDER = files("anysched.backends.redis") / "lua"

_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_LAZILY = re.compile(r"^-- lazily: ([a-z]+)\n((?:.*\n)*)", re.MULTILINE)
_INCLUDE = re.compile(r"^-- include: ([a-z]+)\n", re.MULTILINE)
_PLACE = re.compile(r"\b(NEW_RUN|OUTCOME|CLAIM|FIRE|ENTRY|NODE)\.([a-z_]+)")

# As they are written here: from the first column to the first column, or on one line.
_DEFINITION = re.compile(
    r"^function ([a-z]+\.[a-z_]+)\((?:.* end|(?:.*\n)*?end)\n|^local ([A-Z_]+) = (?:\{\n(?:.*\n)*?\}|[^{\n].*)\n",
    re.MULTILINE,
)
_NAME = re.compile(r"\b[a-z]+\.[a-z_]+\b|\b[A-Z_]+\b")

# In the part that makes keys, and where they are used.
_KEYS = re.compile(r"^local keys = \{\n(?:.*\n)*?\}\n", re.MULTILINE)
_KEY = re.compile(r"^(?:  |keys\.)([A-Z_]+) = (PREFIX \.\. '[a-z-]+'),?.*\n", re.MULTILINE)
_KEY_OF = re.compile(r"^function keys\.([a-z_]+)\((\w+)\) return (PREFIX \.\. '[a-z-]+:' \.\. )\2 end\n", re.MULTILINE)
_CALL = re.compile(r"\bkeys\.([a-z_]+)\(((?:[^()]|\([^()]*\))*)\)")
_NAME_OF_KEY = re.compile(r"\bkeys\.([A-Z_]+)\b")

_LAYOUTS: dict[str, type[msgspec.Struct]] = {
    "NEW_RUN": NewRun,
    "OUTCOME": Outcome,
    "CLAIM": Claim,
    "FIRE": Fire,
    "ENTRY": EntryWrite,
    "NODE": NodeInfo,
}

_CONSTANTS = {
    "CLAIMS_REMEMBERED": records.CLAIMS_REMEMBERED,
    "DEFAULT_TTL_MS": records.DEFAULT_TTL_MS,
    "MEMO_MS": records.MEMO_MS,
    "MOST_ERRORS": records.MOST_ERRORS,
    "MOST_WAITING": records.MOST_WAITING,
    "NAMED_AT_RENEWAL": records.NAMED_AT_RENEWAL,
    "POISON_CRASHES": records.POISON_CRASHES,
    "POISON_ERROR": f"[==[{records.POISON_ERROR}]==]",
    "POISON_WINDOW_MS": records.POISON_WINDOW_MS,
    "RETIRED": f"[==[{records.RETIRED}]==]",
    "SHORTEST_TTL_MS": records.SHORTEST_TTL_MS,
    "SHORT_PAYLOAD": records.SHORT_PAYLOAD,
    "TOMBSTONE_MS": records.TOMBSTONE_MS,
}


@cache
def script(name: str) -> Script:
    """The script of that name, whole."""
    text = _COMMENT.sub("", _included(_read(f"{name}.lua"), set()))
    return Script(name, _PLACE.sub(_place, _with_keys(_without_unused(text))))


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
        return _constants() if name == "constants" else _included(_read(f"shared/{name}.lua"), seen)

    return _INCLUDE.sub(part, put_off(text))


def _constants() -> str:
    return "".join(f"local {name} = {value}\n" for name, value in _CONSTANTS.items())


def put_off(text: str) -> str:
    """A part, what follows ``-- lazily: <table>`` in it put into a function for that table."""
    return _LAZILY.sub(_when_asked_for, text)


def _when_asked_for(match: re.Match[str]) -> str:
    """Definitions in a function that is called for the first name that a table does not have."""
    table, definitions = match.groups()
    return (
        f"setmetatable({table}, {{__index = function(_, name)\nsetmetatable({table}, nil)\n"
        f"{definitions}return {table}[name]\nend}})\n"
    )


def _without_unused(text: str) -> str:
    """The text without shared functions and tables that it does not name."""
    defined = {(match[1] or match[2]): match[0] for match in _DEFINITION.finditer(text)}
    wanted = _NAME.findall(_DEFINITION.sub("", text))
    used: set[str] = set()

    while wanted:
        name = wanted.pop()

        if name in defined and name not in used:
            used.add(name)
            body = defined[name]
            wanted += _NAME.findall(body[body.index(name) + len(name) :])

    return _DEFINITION.sub(lambda match: match[0] if (match[1] or match[2]) in used else "", text)


def _with_keys(text: str) -> str:
    """The text with each key put together where it is used, and without what defines them."""
    made = {match[1]: match[2] for match in _KEY.finditer(text)}
    made_of = {match[1]: match[3] for match in _KEY_OF.finditer(text)}
    text = _NAME_OF_KEY.sub(lambda match: f"({made[match[1]]})", _KEY.sub("", _KEY_OF.sub("", _KEYS.sub("", text))))
    return _CALL.sub(lambda match: f"({made_of[match[1]]}({match[2]}))", text)


def _read(path: str) -> str:
    return _FOLDER.joinpath(path).read_text("utf-8")


def _place(match: re.Match[str]) -> str:
    return str(_LAYOUTS[match[1]].__struct_fields__.index(match[2]) + 1)
