r"""Crontabs, as crontab(5) has them: text in, lines out. Reads no file and starts nothing.

A line is a comment (``#`` first), a setting (``NAME=value``), or an entry: five fields, or a name such as ``@daily``,
and a command, which is the rest of the line. A setting holds for the entries below it. As in Vixie cron:

* a value may stand in quotes, which keep blanks at its ends; nothing in it is expanded;
* the first ``%`` of a command ends it, and what follows is its standard input, in which further ``%`` are newlines;
  ``\%`` is a percent sign.

``CRON_TZ`` is the time zone of the entries below it. ``MAILTO`` and ``MAILFROM`` are ignored, with a warning unless
empty: output is logged, not mailed. ``@reboot`` is refused, since a cluster has no such moment.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from attrs import define, evolve, field, frozen

from anysched.cli.failures import InvalidCrontab
from anysched.errors import InvalidSchedule
from anysched.identifiers import digest
from anysched.schedules import Cron, Schedule, parse_schedule, resolve_timezone
from anysched.values import shown

__all__ = ["Crontab", "CrontabEntry", "parse_crontab"]

_SETTING: Final = re.compile(
    r"""\s*(?P<quote>["']?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P=quote)[ \t]*=[ \t]*(?P<value>.*)""", re.DOTALL
)
_ENTRY: Final = re.compile(r"(?s)((?:\S+[ \t]+){4}\S+)(?:[ \t]+(.*))?")
_EVERY: Final = re.compile(r"(?s)(@every[ \t]+\S+)(?:[ \t]+(.*))?", re.IGNORECASE)
_NICKNAME: Final = re.compile(r"(?s)(@\S*)(?:[ \t]+(.*))?")
_NOT_IN_A_SLUG: Final = re.compile(r"[^A-Za-z0-9._-]+")

_LONGEST_LINE: Final = 64 * 1024
_LONGEST_SLUG: Final = 30
_FIELDS: Final = "five fields and a command, @daily and a command, NAME=value, or a comment"


@frozen(kw_only=True)
class CrontabEntry:
    """One line that names a time and a command.

    Attributes:
        number: of the line, from 1.
        id: made from the time and the command, so that it stays when lines change places.
        schedule: when.
        command: what the shell is given.
        input: what the command is given; None: nothing.
        environment: the settings above the line.
    """

    number: int
    id: str
    schedule: Schedule
    command: str
    input: str | None = None
    environment: Mapping[str, str] = field(factory=dict[str, str])


@frozen
class Crontab:
    """What a crontab says.

    Attributes:
        entries: in the order of their lines.
        warnings: what is ignored; the line's number and why.
    """

    entries: tuple[CrontabEntry, ...]
    warnings: tuple[tuple[int, str], ...] = ()


def parse_crontab(text: str, *, name: str = "the crontab") -> Crontab:
    """Read a crontab.

    Args:
        text: what it says.
        name: what errors call it.

    Raises:
        InvalidCrontab: one line or several are malformed. Nothing else leaves here, whatever the text.
    """
    reader = _Reader()

    for number, line in enumerate(text.split("\n"), start=1):
        try:
            reader.read(number, line.rstrip("\r"))
        except _Malformed as error:
            reader.problems.append((number, str(error)))

    if reader.problems:
        raise InvalidCrontab(name, reader.problems)

    return Crontab(_numbered(reader.entries), tuple(reader.warnings))


class _Malformed(Exception):
    """Why a line is refused."""


@define(eq=False)
class _Reader:
    entries: list[CrontabEntry] = field(factory=list[CrontabEntry])
    warnings: list[tuple[int, str]] = field(factory=list[tuple[int, str]])
    problems: list[tuple[int, str]] = field(factory=list[tuple[int, str]])
    environment: dict[str, str] = field(factory=dict[str, str])
    zone: str | None = None

    def read(self, number: int, line: str) -> None:
        _check_text(line)
        stripped = line.strip(" \t")

        if not stripped or stripped.startswith("#"):
            return

        if setting := _SETTING.fullmatch(line):
            self._set(number, setting["name"], _unquoted(setting["value"]))
        else:
            self.entries.append(self._entry(number, stripped))

    def _set(self, number: int, name: str, value: str) -> None:
        if name in ("MAILTO", "MAILFROM"):
            if value:
                self.warnings.append((number, f"{name} is ignored: output is logged, not mailed"))
        elif name == "CRON_TZ":
            self.zone = _checked_zone(value)
        else:
            self.environment = {**self.environment, name: value}

    def _entry(self, number: int, line: str) -> CrontabEntry:
        when, rest = _split(line)
        command, given = _split_input(rest)

        if not command:
            message = f"there is no command after {shown(when)}"
            raise _Malformed(message)

        return CrontabEntry(
            number=number,
            id=_make_id(f"{self.zone or ''} {when}", rest),
            schedule=self._schedule(when),
            command=command,
            input=given,
            environment=self.environment,
        )

    def _schedule(self, when: str) -> Schedule:
        if when.lower() == "@reboot":
            raise _Malformed("@reboot is refused: a cluster has no such moment")

        try:
            if when.lower().startswith("@every"):
                return parse_schedule(when)

            return Cron(when, tz=self.zone)
        except InvalidSchedule as error:
            raise _Malformed(str(error)) from None


def _check_text(line: str) -> None:
    if len(line) > _LONGEST_LINE:
        message = f"it has {len(line)} characters, more than {_LONGEST_LINE}"
        raise _Malformed(message)

    # A half of a surrogate pair stands for a byte that was no text, and cannot be stored.
    if "\0" in line or any("\ud800" <= character <= "\udfff" for character in line):
        raise _Malformed("it has characters in it that are no text")


def _checked_zone(value: str) -> str | None:
    try:
        resolve_timezone(value or "UTC")
    except InvalidSchedule as error:
        raise _Malformed(str(error)) from None

    return value or None


def _split(line: str) -> tuple[str, str]:
    """A time and the rest of the line."""
    nickname = _EVERY.fullmatch(line) or _NICKNAME.fullmatch(line)
    found = nickname or _ENTRY.fullmatch(line)

    if found is None:
        message = f"{shown(line)} is not {_FIELDS}"
        raise _Malformed(message)

    return " ".join(found[1].split()), found[2] or ""


def _unquoted(value: str) -> str:
    value = value.strip(" \t")
    quote = value[:1]
    return value[1:-1] if len(value) > 1 and quote in "\"'" and value.endswith(quote) else value


def _split_input(text: str) -> tuple[str, str | None]:
    r"""A command and its standard input, with ``\%`` and ``%`` made into what they stand for."""
    parts = [""]
    is_escaped = False

    for character in text:
        if character == "%" and is_escaped:
            parts[-1] = parts[-1][:-1] + character
        elif character == "%":
            parts.append("")
        else:
            parts[-1] += character

        # Two backslashes are two backslashes, and escape nothing.
        is_escaped = character == "\\" and not is_escaped

    command, *lines = parts

    if not lines:
        return command.rstrip(" \t"), None

    given = "\n".join(lines)
    return command.rstrip(" \t"), given if given.endswith("\n") or not given else f"{given}\n"


def _make_id(when: str, command: str) -> str:
    known_by = digest(f"{when}\0{command}".encode(), 6).hex()
    words = command.split(maxsplit=1)
    slug = _NOT_IN_A_SLUG.sub("", words[0].rpartition("/")[2] if words else "")[:_LONGEST_SLUG]
    return f"crontab:{slug or 'command'}:{known_by}"


def _numbered(entries: list[CrontabEntry]) -> tuple[CrontabEntry, ...]:
    """Lines that say the same get numbers, from the second on."""
    seen: Counter[str] = Counter()
    numbered: list[CrontabEntry] = []

    for entry in entries:
        seen[entry.id] += 1
        count = seen[entry.id]
        numbered.append(entry if count == 1 else evolve(entry, id=f"{entry.id}:{count}"))

    return tuple(numbered)
