"""What a client library raises, told as one of our errors.

Both libraries cut the code off the front of a server's error and give some codes a class of their own and some not,
each in its own way; so what counts is the code where it is still there, and the class by its name.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

from anysched.errors import BackendError, BackendRefused, BackendUnavailable

__all__ = ["explain", "is_demoted"]

_FOR_NOW = {
    "LOADING": "the server is loading its data",
    "READONLY": "the server is a read-only replica",
    "MISCONF": "the server cannot save to disk, and is configured to refuse writes then",
    "OOM": "the server is out of memory",
    "BUSY": "the server is busy with a script",
    "TRYAGAIN": "the cluster is moving our keys",
    "CLUSTERDOWN": "the cluster is down",
    "MASTERDOWN": "the replica has lost its master",
    "NOREPLICAS": "the server has too few replicas to accept writes",
    "NOMASTER": "Sentinel knows of no master by that name, for now",
    "MAXCLIENTS": "the server accepts no more clients",
    "POOL": "all connections of the client's pool are taken",
    "UNBLOCKED": "the server was demoted",
}
_FOR_GOOD = {
    "NOAUTH": "the server wants a password",
    "WRONGPASS": "wrong user name or password",
    "NOPERM": "the user lacks a permission",
    "UNKNOWN": "the server does not know a command",
    "NOPROTO": "the server does not speak the protocol",
    "DBINDEX": "the server has no such database",
    "MOVED": "the server is one node of a cluster, and our keys are on another",
    "CROSSSLOT": "the server is a cluster, and our keys are spread over it",
    "CERTIFICATE": "the server's certificate is not trusted",
}

_CLASSES = {
    "BusyLoadingError": "LOADING",
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "TryAgainError": "TRYAGAIN",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "UnblockedError": "UNBLOCKED",
    "MasterNotFoundError": "NOMASTER",
    "PrimaryNotFoundError": "NOMASTER",
    "StalePrimaryError": "READONLY",
    "MaxConnectionsError": "POOL",
    "AuthenticationRequiredError": "NOAUTH",
    "AuthenticationError": "WRONGPASS",  # redis-py has this one for NOAUTH too
    "AuthorizationError": "NOPERM",
    "NoPermissionError": "NOPERM",
    "UnknownCommandError": "UNKNOWN",
    "ProtocolError": "NOPROTO",
    "MovedError": "MOVED",
    "ClusterCrossSlotError": "CROSSSLOT",
}
_LOST = {"ConnectionError", "TimeoutError", "OSError", "SentinelError", "InvalidResponse"} | {
    "EndOfStream",  # this and the next are errors of AnyIO's streams
    "BrokenResourceError",
    "ClosedResourceError",
}

_PHRASES = {
    "max number of clients reached": "MAXCLIENTS",
    "No connection available": "POOL",
    "Too many connections": "POOL",
    "previous master is now a slave": "READONLY",
    "Authentication required": "NOAUTH",
    "unknown command": "UNKNOWN",
    "unknown subcommand": "UNKNOWN",
    "Unknown Redis command": "UNKNOWN",
    "Unknown command called": "UNKNOWN",  # Valkey's for the same
    "The user executing the script can't": "NOPERM",
    "ACL failure in script": "NOPERM",  # the same, from Redis 7.2 on
    "DB index is out of range": "DBINDEX",
    "invalid DB index": "DBINDEX",
    "without any password configured": "WRONGPASS",
}
_CODE = re.compile(r"(?:^|@user_script: ?\d+: -?)([A-Z]{2,})(?= )")  # the latter: Redis 6 wraps what a script ran into
_QUOTED = re.compile(r",? with args beginning with:.*", re.DOTALL)  # AUTH's arguments among them


def explain(error: BaseException) -> BackendError:
    """Our error for what went wrong, with the reason named and no credentials.

    Args:
        error: what the library raised; anything else that is no failure of the connection is named as it is.
    """
    if isinstance(error, BackendError):
        return error

    text = _QUOTED.sub("", str(error)).strip()
    code = _code_of(error, text)

    if code in _FOR_GOOD:
        return BackendRefused(f"Redis refuses us: {_FOR_GOOD[code]}{_detail(code, text)}")

    if code in _FOR_NOW:
        return BackendUnavailable(f"Redis cannot answer for now: {_FOR_NOW[code]}{_detail(code, text)}")

    if _is_lost(error):
        return BackendUnavailable(f"Redis cannot be reached: {text or type(error).__name__}")

    return BackendError(f"Redis answered with an error: {text or type(error).__name__}")


def is_demoted(error: BaseException) -> bool:
    """Whether the server is a replica, cut off or not, so that a new connection may lead to the new master."""
    return _code_of(error, str(error)) in ("READONLY", "MASTERDOWN")


def _code_of(error: BaseException, text: str) -> str | None:
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return "CERTIFICATE"

    for phrase, code in _PHRASES.items():
        if phrase in text:
            return code

    for code in (*_CODE.findall(text), getattr(error, "status_code", None)):
        if code in _FOR_GOOD or code in _FOR_NOW:
            return code

    return next((_CLASSES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CLASSES), None)


def _detail(code: str, text: str) -> str:
    return f" ({code}: {text.removeprefix(code).strip()})" if text else f" ({code})"


def _is_lost(error: BaseException) -> bool:
    return not _LOST.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error

    for _ in range(10):  # a chain may be a ring
        if at is None:
            return

        yield at
        at = at.__cause__ or at.__context__
