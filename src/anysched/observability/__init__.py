"""Sinks for the events that observers are told: one small module each."""

from __future__ import annotations

from anysched.observability.logging import LoggingObserver

__all__ = ["LoggingObserver"]
