r"""``.env`` files: lines of ``NAME=value``.

Understood are comments, empty lines, ``export`` in front, values in single quotes (taken as they are) and in double
quotes (with the escapes ``\\``, ``\"``, ``\n``, ``\r``, ``\t`` and ``\$``). Nothing is substituted and
nothing executed. The file is usually shared with other programs, so a line that cannot be read is passed over unless
it names one of our settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from anysched.errors import InvalidConfig

__all__ = ["parse_dotenv", "read_dotenv"]

_LINE: Final = re.compile(
    r"""
    [ \t]* (?:export[ \t]+)? (?P<name>[A-Za-z_][A-Za-z0-9_]*) [ \t]* = [ \t]*
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^'"\#\s](?:[^\#\n]|(?<![ \t])\#)*)? )
    [ \t]* (?:(?<=[ \t])\#.*)?
    """,
    re.VERBOSE,
)
# No more of a line than a name can be is ever shown: the rest may be a secret.
_OURS: Final = re.compile("ANYSCHED_[A-Z_]*")
_ALLOWED: Final = "NAME=value, the value in quotes if it has spaces or # in it"
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def read_dotenv(path: str | Path | None) -> Mapping[str, str]:
    """The variables that a file sets; none if there is no such file, or no path.

    Raises:
        InvalidConfig: the file cannot be read, or a line that is ours.
    """
    if path is None:
        return {}

    try:
        text = Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidConfig("env_file", str(path), f"a file of text in UTF-8 ({error})") from None

    return parse_dotenv(text, str(path))


def parse_dotenv(text: str, path: str = ".env") -> dict[str, str]:
    """The variables that a text sets; of two lines for one name the later counts.

    Raises:
        InvalidConfig: a line that is ours cannot be read. Its value, which may be a secret, is not shown.
    """
    found: dict[str, str] = {}

    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue

        match = _LINE.fullmatch(line)

        if match is not None:
            found[match["name"]] = _value(match)
        elif ours := _OURS.search(line):
            where = f"line {number} of {path}"
            raise InvalidConfig(where, ours[0], _ALLOWED)

    return found


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]

    if match["double"] is not None:
        return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[0]), match["double"])

    return (match["bare"] or "").rstrip()
