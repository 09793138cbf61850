"""Histories of the whole interface."""

from __future__ import annotations

from .firing import EntryMachine
from .locking import LockMachine

__all__ = ["BackendMachine"]


class BackendMachine(EntryMachine, LockMachine):
    """Somebody who does anything."""
