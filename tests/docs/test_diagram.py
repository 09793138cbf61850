"""The life of a run, as it is drawn, is as it is."""

from __future__ import annotations

import runpy
from typing import Any

from anysched.run import TRANSITIONS, Move

from .pages import ROOT

TOOL: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "tools" / "diagram.py"))


def test_the_page_is_up_to_date() -> None:
    """Otherwise run docs/tools/diagram.py."""
    assert TOOL["page"]() == TOOL["PAGE"].read_text()


def test_every_move_is_drawn_and_explained() -> None:
    """An arrow for each pair of statuses, a line for each move."""
    lines = TOOL["diagram"]().splitlines()
    pairs = {f"    {status} --> {target}" for status, moves in TRANSITIONS.items() for target in moves.values()}

    assert pairs == {line.partition(":")[0] for line in lines if ":" in line}
    assert set(Move) == set(TOOL["MEANING"])
