"""From ``module:attribute`` to a scheduler."""

from __future__ import annotations

import sys
from argparse import Namespace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from anysched.backends.memory import MemoryBackend
from anysched.cli.failures import (
    AppBroken,
    AppNotFound,
    BackendInProcess,
    NotAScheduler,
    NothingToTalkTo,
    UsageError,
    reading_words,
)
from anysched.config import DEFAULT_NAMESPACE, environment
from anysched.scheduler import Scheduler

__all__ = ["load_scheduler", "names_application", "scheduler_of", "shared_scheduler_of"]


def load_scheduler(path: str) -> Scheduler:
    """Import a scheduler. The current directory is looked in first.

    Args:
        path: a module, a colon, and a name in it, which may have dots. A function is called for the scheduler.

    Raises:
        AppNotFound: there is no such module or name.
        AppBroken: it raised while it was imported or called.
        NotAScheduler: it is something else.
    """
    module_name, _, names = path.partition(":")

    if not module_name or not names or module_name.startswith("."):
        raise AppNotFound(path, "expected module:attribute, such as myapp.jobs:scheduler")

    found: object = _import(module_name, path)

    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AppNotFound(path, f"no attribute {name!r}", _candidates(module_name)) from None

    if not isinstance(found, Scheduler) and callable(found):
        try:
            found = found()
        except Exception as error:
            raise AppBroken(path, "calling", error) from error

    if not isinstance(found, Scheduler):
        raise NotAScheduler(path, found)

    return found


def scheduler_of(arguments: Namespace) -> Scheduler:
    """The scheduler that a command line means: the application's, or one without jobs on a backend.

    Args:
        arguments: with ``target`` (an import path or None), ``backend`` and ``namespace``.

    Raises:
        UsageError: it says nothing, or too much.
        CommandError: what it says cannot be loaded.
    """
    if arguments.target is not None:
        if arguments.backend is not None or arguments.namespace is not None:
            message = (
                f"{arguments.target!r} has a backend and a namespace of its own: leave out --backend and --namespace"
            )
            raise UsageError(message)

        return load_scheduler(arguments.target)

    with reading_words():
        found = environment()
        backend = arguments.backend if arguments.backend is not None else found.backend

        if backend is None:
            raise NothingToTalkTo

        namespace = arguments.namespace

        if namespace is None:
            namespace = found.namespace if arguments.backend is None else DEFAULT_NAMESPACE

        return Scheduler(backend, namespace=namespace, config=found.config)


def shared_scheduler_of(arguments: Namespace) -> Scheduler:
    """The same, for a command that has to do with other processes.

    Raises:
        BackendInProcess: its backend is its own process's memory.
    """
    scheduler = scheduler_of(arguments)

    if isinstance(scheduler.backend, MemoryBackend):
        raise BackendInProcess(arguments.target or "")

    return scheduler


def names_application(arguments: Namespace) -> bool:
    """Whether ``target`` is an import path, where the word may as well be an id, which may have a colon too.

    Raises:
        UsageError: a variable cannot be read.
    """
    module_name, colon, names = arguments.target.partition(":")

    if arguments.backend is not None or not colon:
        return False

    with reading_words():
        # Without an address nothing but an application can be meant.
        if environment().backend is None:
            return True

    return all(name.isidentifier() for name in names.split(".")) and _is_module(module_name)


def _is_module(name: str) -> bool:
    _look_here()

    try:
        return find_spec(name) is not None
    except ImportError:
        return False
    except ValueError:
        # No name at all, or that of a module that was made by hand.
        return name in sys.modules
    except (Exception, SystemExit):  # noqa: BLE001 - a package of the application's, which will be said when it is loaded
        return True


def _look_here() -> None:
    here = str(Path.cwd())

    if here not in sys.path:
        sys.path.insert(0, here)


def _import(name: str, path: str) -> ModuleType:
    _look_here()

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""

        if name != missing and not name.startswith(f"{missing}."):
            raise AppBroken(name, "importing", error) from error

        hint = f"no module named {missing!r} here or on sys.path"
        raise AppNotFound(path, f"{hint}; leave out the .py" if name.endswith(".py") else hint) from None
    except (Exception, SystemExit) as error:
        raise AppBroken(name, "importing", error) from error


def _candidates(module_name: str) -> list[str]:
    names = vars(sys.modules[module_name]).items()
    return [f"{module_name}:{name}" for name, value in names if isinstance(value, Scheduler)]
