"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any, Final

import msgspec

from anysched.clock import now
from anysched.durations import format_duration

__all__ = ["ago", "moment", "show_fields", "show_json", "show_json_text", "show_table"]

_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)

_STYLES: Final = {
    "ready": "blue",
    "scheduled": "cyan",
    "running": "bold yellow",
    "retrying": "magenta",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "dark_orange",
    "expired": "red",
    "active": "green",
    "paused": "dark_orange",
    "finished": "dim",
    "OK": "green",
    "WARN": "bold dark_orange",
    "FAIL": "bold red",
}
"""Cells that are one of these words get its colour."""


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    show_json_text(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def show_json_text(text: str) -> None:
    """Print JSON. What the output's encoding lacks is escaped as JSON escapes it."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)

    print(text)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table: with ``rich`` in a terminal, aligned plain lines otherwise.

    Args:
        columns: the heads.
        rows: the cells; ``None`` is an empty one.
        empty: what to say if there are no rows.
    """
    cells = [["" if cell is None else " ".join(str(cell).split()) for cell in row] for row in rows]

    if not cells:
        print(empty)
    elif _is_rich():
        _show_rich(columns, cells)
    else:
        widths = [max(len(row[column]) for row in [columns, *cells]) for column in range(len(columns))]

        for row in [[column.upper() for column in columns], *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values below each other; those without a value are left out."""
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "", (), [], {})]
    width = max((len(name) for name, _ in shown), default=0)

    for name, value in shown:
        first, *more = value.splitlines() or [""]
        print(f"{name.ljust(width)}  {first}")

        for line in more:
            print(f"{' ' * width}  {line}")


def moment(instant: datetime | None) -> str | None:
    """An instant in UTC, to the second, and how far it is away."""
    return None if instant is None else f"{instant.astimezone(now().tzinfo):%Y-%m-%d %H:%M:%SZ} ({ago(instant)})"


def ago(instant: datetime) -> str:
    """How far an instant is away: ``in 5m``, ``3h ago``."""
    distance = instant - now()
    length = abs(distance)

    shown = f"{length // _DAY} days" if length >= 2 * _DAY else format_duration(_SECOND * (length // _SECOND))
    return f"in {shown}" if distance > timedelta(0) else f"{shown} ago"


def _is_rich() -> bool:
    return sys.stdout.isatty() and find_spec("rich") is not None


def _show_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")

    for column in columns:
        table.add_column(column, overflow="fold")

    for row in rows:
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))

    Console(width=max(shutil.get_terminal_size().columns, 60)).print(table)
