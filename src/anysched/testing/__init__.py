"""For tests: virtual time, cancellation everywhere, real servers, and a network that fails on command.

The pytest plugin with the fixtures is :mod:`anysched.testing.plugin`; nothing here needs pytest.
"""

from __future__ import annotations

from .cancelling import NeverCompletes, Round, cancel_at_every_await
from .proxy import FaultyProxy
from .servers import NoRedisServer, RedisServer, ReplyError, ServerFailed, ServerNotOurs
from .virtual import Deadlock, sleep_until_instant, virtual_time

__all__ = [
    "Deadlock",
    "FaultyProxy",
    "NeverCompletes",
    "NoRedisServer",
    "RedisServer",
    "ReplyError",
    "Round",
    "ServerFailed",
    "ServerNotOurs",
    "cancel_at_every_await",
    "sleep_until_instant",
    "virtual_time",
]
