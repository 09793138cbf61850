"""Redis as the backend: several processes and machines share one namespace."""

from __future__ import annotations

from anysched.backends.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
