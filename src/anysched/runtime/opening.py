"""An address into a backend. What the address needs is imported only then."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol, cast, runtime_checkable

from anysched.backends import Backend
from anysched.config import DEFAULT_NAMESPACE
from anysched.errors import InvalidOption, InvalidURL

__all__ = ["open_backend"]


@runtime_checkable
class _Movable(Protocol):
    """A backend that can be had in another namespace."""

    def in_namespace(self, namespace: str) -> Backend: ...


@runtime_checkable
class _Timed(Protocol):
    """A backend whose commands have a time limit."""

    def for_lease(self, lease: timedelta) -> Backend: ...


_ALLOWED = "memory://, redis://, rediss://, unix:// or redis+sentinel://, or a Backend object"


def open_backend(backend: str | Backend | None, *, namespace: str | None, lease: timedelta) -> Backend:
    """The backend that a user means. Connects to nothing yet.

    Args:
        backend: an address, a backend, or ``None`` for this process's memory.
        namespace: for a backend that is made here, or an object that was given none; ``None``: the default.
        lease: of the scheduler's node; the time limit of a command has to be well under it.

    Raises:
        InvalidURL: the address cannot be understood.
        InvalidOption: it is neither an address nor a backend; or it is a backend that was given another namespace, or
            a time limit that is too long for the lease.
    """
    opened = _opened(backend, namespace)
    return opened.for_lease(lease) if isinstance(opened, _Timed) else opened


def _opened(backend: str | Backend | None, namespace: str | None) -> Backend:
    if backend is None or (isinstance(backend, str) and backend.lower() in ("memory", "memory://")):
        from anysched.backends.memory import MemoryBackend

        return MemoryBackend()

    if isinstance(backend, str):
        return _from_address(backend, namespace=namespace if namespace is not None else DEFAULT_NAMESPACE)

    # A user's mistake, which no type checker may have seen. A backend's class has the methods, too.
    if isinstance(backend, type) or not isinstance(cast("object", backend), Backend):
        # An object is shown by its kind alone: its own words may hold a password.
        raise InvalidOption("backend", backend if isinstance(backend, type) else type(backend).__name__, _ALLOWED)

    return backend if namespace is None else _in_namespace(backend, namespace)


def _in_namespace(backend: Backend, namespace: str) -> Backend:
    own = getattr(backend, "namespace", None)

    # This process's memory has none, and needs none.
    if own is None or own == namespace:
        return backend

    if own != DEFAULT_NAMESPACE or not isinstance(backend, _Movable):
        raise InvalidOption("namespace", namespace, f"{own!r}, which the backend object has, or None")

    return backend.in_namespace(namespace)


def _from_address(address: str, *, namespace: str) -> Backend:
    from anysched.backends.redis import RedisBackend
    from anysched.backends.redis.addresses import SCHEMES

    scheme = address.partition("://")[0]

    if scheme.lower() not in SCHEMES:
        raise InvalidURL(f"{scheme}://..." if "://" in address else "...", _ALLOWED)

    return RedisBackend.from_url(address, namespace=namespace)
