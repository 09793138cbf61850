"""The loops of a running node, one a file, each named for what it does.

Only this floor, the executor and the lock open task groups and cancel scopes.
"""

from __future__ import annotations

__all__: list[str] = []
"""Nothing here is for users: what they need is in :mod:`anysched`."""
