"""The few keys that Python makes: the prefix that every script starts from, and the channels of hints.

All others are made by ``lua/shared/keys.lua``. ``docs/redis.md`` lists them.
"""

from __future__ import annotations

__all__ = ["everybody_channel", "inbox_channel", "key_prefix"]


def key_prefix(namespace: str) -> str:
    """What every key begins with; the braces keep a namespace on one slot of a cluster."""
    return f"{{{namespace}}}:"


def inbox_channel(prefix: str, inbox: str) -> str:
    """Where hints for one inbox are published."""
    return f"{prefix}hint:{inbox}"


def everybody_channel(prefix: str) -> str:
    """Where hints for all are published."""
    return f"{prefix}hints"
