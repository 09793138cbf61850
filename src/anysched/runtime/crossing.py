"""What comes back from a worker process: what a function returned, or what it raised.

A result either can be pickled or is an error. An exception has to come back whatever it is made of, since policies and
people judge by it: many cannot be pickled (they hold on to a connection), and many more cannot be read again (their
``__init__`` takes other arguments than the message). So the process tries whether it can, and also takes it apart: its
class, or if that has no name in a module, what it is made of; its arguments and attributes, those that can be pickled;
its message; its traceback, as text.

What always holds:

* In the node an instance is raised of the class that was raised, or of one that is made anew with the same name and the
  same bases, so that policies find it by its classes and their names. Its message is what it was.
* In the script that was started, a class has one name in the process and another in the node; both mean the same.
* While a function runs, the pipes on which its process talks to the node are out of its and its children's way.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import msgspec
from anyio import BrokenWorkerProcess

from anysched.attempt_errors import describe_error
from anysched.errors import InvalidState

__all__ = [
    "ProcessTraceback",
    "in_words",
    "pack_error",
    "pack_value",
    "require_started_program",
    "streams_of_its_own",
    "unpack",
]

_MAIN: Final = "__mp_main__"
"""What the started script goes by in a worker process."""


class ProcessTraceback(Exception):
    """The traceback of an exception that was raised in a worker process, as its cause."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class _Class(msgspec.Struct, frozen=True):
    """A class of exceptions.

    Attributes:
        pickled: by its name in a module; empty if it has none that can be found.
    """

    module: str
    name: str
    pickled: bytes
    bases: tuple[_Class, ...]


class _Parts(msgspec.Struct, frozen=True):
    """An exception, taken apart.

    Attributes:
        whole: as pickle has it; empty if it cannot be had like that.
        args: pickled; of a group, but for its members.
        state: its attributes, each pickled.
        members: of a group.
    """

    kind: _Class
    message: str
    traceback: str
    whole: bytes
    args: bytes
    state: dict[str, bytes]
    members: tuple[_Parts, ...] = ()


# --- in the process -----------------------------------------------------------------------------------------------


def require_started_program() -> None:
    """Refuse to be in a worker process that only reads the program, for the functions that are in it.

    Raises:
        InvalidState: the program runs anew in there.
    """
    # AnyIO has taken away the worker's own, and puts the program in its place when it has been read. After that a
    # function may well use a scheduler.
    if _MAIN in sys.modules and "__main__" not in sys.modules:
        raise InvalidState(
            "this program",
            "being read by a worker process",
            "guard what starts it by `if __name__ == '__main__':`, or each worker process runs it anew",
        )


@contextmanager
def streams_of_its_own() -> Generator[None]:
    """An empty standard input, and a standard output that is the standard error; children inherit them.

    Those that the process was given are pipes, on which AnyIO waits for the next function and answers.
    """
    # Neither is inherited.
    asides = os.dup(0), os.dup(1)

    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)

        # It may be closed.
        with suppress(OSError):
            os.dup2(2, 1)

        yield
    finally:
        for number, aside in enumerate(asides):
            os.dup2(aside, number)
            os.close(aside)


def pack_value(value: object) -> bytes:
    """What a function returned.

    Raises:
        Exception: it cannot be pickled.
    """
    return pickle.dumps((True, value), pickle.HIGHEST_PROTOCOL)


def pack_error(error: BaseException) -> bytes:
    """What it raised, with the traceback that it has. Never raises an ``Exception`` itself."""
    try:
        return pickle.dumps((False, _take_apart(error)), pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - of a group in a group in a group without end
        said = describe_error(error)
        parts = _Parts(_class_of(type(error)), said.message, said.traceback, b"", _pickled((said.message,)), {})
        return pickle.dumps((False, parts), pickle.HIGHEST_PROTOCOL)


def _take_apart(error: BaseException) -> _Parts:
    kind: type[Any] = type(error)
    said, args, whole = describe_error(error), error.args, _pickled(error)
    members: tuple[BaseException, ...] = ()

    if isinstance(error, BaseExceptionGroup):
        # Taken apart in any case: as a whole it may come back with members that have lost their words.
        group = cast("BaseExceptionGroup[BaseException]", error)
        args, whole, members = (group.message,), b"", group.exceptions

    attributes = cast("dict[str, object]", error.__dict__)
    return _Parts(
        kind=_class_of(kind),
        message=said.message,
        traceback=said.traceback,
        whole=whole,
        args=_pickled(args) or _pickled((said.message,)),
        state={name: data for name, value in attributes.items() if (data := _pickled(value))},
        members=tuple(map(_take_apart, members)),
    )


def _class_of(kind: type[Any]) -> _Class:
    pickled = _pickled(kind)
    bases = () if pickled else tuple(_class_of(base) for base in kind.__bases__)
    return _Class(kind.__module__, kind.__qualname__, pickled, bases)


def _pickled(value: object) -> bytes:
    """The value, if it can be pickled and read again."""
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)
    except Exception:  # noqa: BLE001 - code of the value's
        return b""

    return data


# --- in the node --------------------------------------------------------------------------------------------------


@contextmanager
def in_words() -> Generator[None]:
    """Have an error say what has become of a process."""
    try:
        yield
    except BrokenWorkerProcess as error:
        cause = error.__cause__

        if not error.args:
            raise BrokenWorkerProcess("the process ended, or its pipe broke, before it answered") from cause

        if cause is None:
            raise

        said = describe_error(cause)
        raise BrokenWorkerProcess(f"{error}: {said.type}: {said.message}") from cause


def unpack(data: bytes) -> Any:
    """What the function returned.

    Raises:
        BaseException: what it raised.
    """
    has_returned, what = _load(data)

    if has_returned:
        return what

    parts = cast("_Parts", what)
    raise _put_together(parts) from ProcessTraceback(parts.traceback)


def _put_together(parts: _Parts) -> BaseException:
    whole = _load_or_none(parts.whole)

    if type(whole).__qualname__ == parts.kind.name and _says(whole, parts.message):
        return whole

    kind = _found(parts.kind)

    # The class as it is; one that says what was said; and one that may lack what its class demands of its children.
    for make in (_as_it_is, _with_its_message, _in_its_likeness):
        with suppress(Exception):
            error = _made(make(kind, parts.message), parts)

            if _says(error, parts.message):
                return error

    return RuntimeError(parts.message)


def _as_it_is(kind: type[Any], message: str) -> type[Any]:
    return kind


def _with_its_message(kind: type[Any], message: str) -> type[Any]:
    return _new_class(kind.__module__, kind.__qualname__, (kind,), message)


def _in_its_likeness(kind: type[Any], message: str) -> type[Any]:
    return _new_class(kind.__module__, kind.__qualname__, (Exception,), message)


def _made(kind: type[Any], parts: _Parts) -> BaseException:
    """An instance without a call of its class's own ``__init__``, which may want other arguments."""
    built_in: Any = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    args = _load_or_none(parts.args) or ()

    if parts.members and issubclass(kind, BaseExceptionGroup):
        args = (*args, [_put_together(member) for member in parts.members])

    error = built_in.__new__(kind, *args)

    # That of UnicodeDecodeError, for one, takes five, and is not content with a message.
    with suppress(TypeError):
        built_in.__init__(error, *args)

    for name, value in parts.state.items():
        error.__dict__[name] = _load_or_none(value)

    return error


def _says(error: object, message: str) -> bool:
    return isinstance(error, BaseException) and describe_error(error).message == message


def _found(kind: _Class) -> type[Any]:
    """The class, or one that is made in its likeness."""
    found = _load_or_none(kind.pickled)

    if isinstance(found, type):
        return found

    return _new_class(kind.module.replace(_MAIN, "__main__"), kind.name, tuple(map(_found, kind.bases)))


def _new_class(module: str, name: str, bases: tuple[type[Any], ...], message: str | None = None) -> type[Any]:
    names: dict[str, Any] = {"__module__": module, "__qualname__": name}

    if message is not None:

        def say(_: object) -> str:
            return message

        names["__str__"] = say

    return type(name.rpartition(".")[2], bases, names)


def _load_or_none(data: bytes) -> Any:
    try:
        return _load(data)
    except Exception:  # noqa: BLE001 - code of the value's; what cannot be read here is done without
        return None


def _load(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return super().find_class("__main__" if module_name == _MAIN else module_name, global_name)
