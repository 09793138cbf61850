"""What a scheduler can be put together from. What cannot be is refused while its maker is still on the stack."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from anysched.codec import Codec
from anysched.config import SchedulerConfig
from anysched.errors import InvalidOption
from anysched.events import Observer
from anysched.executor import Executor
from anysched.lock import Lock
from anysched.options import check_kind

__all__ = ["check_components", "check_lifespan", "check_observers"]

_COMPONENTS = {
    "config": (SchedulerConfig, "a SchedulerConfig"),
    "executor": (Executor, "an Executor, such as Executor(max_concurrent=10)"),
    "lock": (Lock, "a Lock, such as Lock(ttl='15s')"),
    "codec": (Codec, "a Codec: an object with the methods dumps(value, type) and loads(data, type)"),
}


def check_components(**components: object) -> None:
    """Refuse components, by the names of their options, that are something else; None stands for the default.

    Raises:
        InvalidOption: one of them is.
    """
    for name, component in components.items():
        if component is not None:
            check_kind(name, component, *_COMPONENTS[name])


def check_lifespan(value: object) -> None:
    """Refuse a lifespan that cannot be called for an async context manager.

    Raises:
        InvalidOption: it cannot.
    """
    if value is None:
        return

    if not callable(value):
        raise InvalidOption("lifespan", value, "a function that gives an async context manager")

    # Calling it works, and gives something that only looks like one.
    if inspect.isasyncgenfunction(value):
        raise InvalidOption("lifespan", value, "@asynccontextmanager on a function that yields")

    if inspect.isgeneratorfunction(value) or inspect.iscoroutinefunction(value):
        raise InvalidOption("lifespan", value, "@asynccontextmanager on an async function that yields")


def opened_lifespan(lifespan: Callable[[], AbstractAsyncContextManager[Any]]) -> AbstractAsyncContextManager[Any]:
    """What a lifespan gives, to be entered.

    Raises:
        InvalidOption: it is no async context manager.
    """
    given = cast("object", lifespan())

    if not isinstance(given, AbstractAsyncContextManager):
        if inspect.iscoroutine(given):
            given.close()

        shown = getattr(lifespan, "__qualname__", lifespan)
        allowed = (
            f"a function that gives an async context manager, such as @asynccontextmanager makes; not {_kind(given)}"
        )
        raise InvalidOption("lifespan", shown, allowed)

    return cast("AbstractAsyncContextManager[Any]", given)


def _kind(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def check_observers(values: object) -> tuple[Observer, ...]:
    """The observers, if all of them are.

    Raises:
        InvalidOption: one is something else, or they are no list.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidOption("observers", values, f"a list, and in it {_OBSERVER}")

    observers = tuple(cast("Iterable[Observer]", values))

    for one in observers:
        check_kind("observer", one, Observer, _OBSERVER)

        # It is called in the middle of things, where nobody can await it.
        if inspect.iscoroutinefunction(one.on_event):
            raise InvalidOption("observer", one, f"{_OBSERVER}, a plain function: it is not awaited")

    return observers


_OBSERVER = "objects with a method on_event(event)"
