"""The loops of a running node, one a file, each named for what it does.

Task groups and cancel scopes are opened here, by the executor and the lock, by ``Scheduler.running()``, and by the
Redis links, which read replies while others write.
"""

from __future__ import annotations

__all__: list[str] = []
"""Nothing here is for users: what they need is in :mod:`anysched`."""
