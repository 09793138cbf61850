"""Caps that are met: a history of fifty commands never sees two hundred runs fall due at once."""

from __future__ import annotations

from types import ModuleType

import pytest

from anysched.backends.memory import aside, entries, firing, moves, nodes, reading, working

from .clockwork import Edit

Caps = tuple[Edit, ...]

SMALL: dict[str, tuple[int, int, tuple[tuple[ModuleType, str], ...]]] = {
    "MOST_DUE": (200, 2, ((nodes, "MOST_DUE"),)),
    "MOST_EXPIRED": (100, 1, ((nodes, "MOST_EXPIRED"),)),
    "MOST_RETURNED": (100, 2, ((nodes, "MOST_RETURNED"), (aside, "MOST_BROUGHT_BACK"))),
    "MOST_PASSED_OVER": (200, 1, ((working, "MOST_PASSED_OVER"),)),
    "MOST_ERRORS": (16, 2, ((moves, "MOST_ERRORS"),)),
    "MOST_WAITING": (1000, 2, ((firing, "MOST_WAITING"),)),
    "MOST_CANCELLED": (1000, 1, ((firing, "MOST_CANCELLED"),)),
    "MOST_RETIRED": (100, 1, ((entries, "MOST_RETIRED"),)),
    "CLAIMS_REMEMBERED": (8, 2, ((working, "CLAIMS_REMEMBERED"),)),
    "MOST_LOOKED_AT": (1000, 3, ((reading, "MOST_LOOKED_AT"),)),
}
"""By their names in Lua: what they are, what they are to be, and where memory has them."""


@pytest.fixture
def small_caps(monkeypatch: pytest.MonkeyPatch) -> Caps:
    """Makes them small in memory; the edits that do so in Lua."""
    for was, small, places in SMALL.values():
        for module, name in places:
            assert was == getattr(module, name)
            monkeypatch.setattr(module, name, small)

    return tuple(Edit(f"{name} = {was}", f"{name} = {small}") for name, (was, small, _) in SMALL.items())
