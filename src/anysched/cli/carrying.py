"""From a parsed command line to an exit status: calls the command, and shows what went wrong as one line."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, cast

from anysched.cli.failures import LoopNotInstalled, UnwritableOutput, UsageError
from anysched.errors import AnySchedError

__all__ = ["carry_out", "complain", "run_async", "warn"]

T = TypeVar("T")

_INTERRUPTED = 130
_FAILED = 1
_MISUSED = 2
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def carry_out(arguments: Namespace) -> int:
    """Do what a command line says.

    Args:
        arguments: parsed; ``command`` names the function that does it, as ``module:function``.

    Returns:
        The exit status.
    """
    _prepare_streams()
    module, _, function = arguments.command.partition(":")
    command: Callable[[Namespace], int] = getattr(import_module(module), function)
    status = _FAILED

    try:
        status = _printed(command, arguments)
    except* AnySchedError as group:
        status = _MISUSED if all(isinstance(error, UsageError) for error in _leaves(group)) else _FAILED

        for error in _leaves(group):
            complain(error, verbose=arguments.verbose)
    except* KeyboardInterrupt:
        status = _INTERRUPTED
    except* BrokenPipeError:
        # Whoever read our output has had enough, as `| head` does.
        _discard_output()

    return status


def complain(error: BaseException, *, verbose: bool = False) -> None:
    """Show an error on one line of stderr; with its traceback in front if that was asked for."""
    if verbose:
        traceback.print_exception(error)

    print(f"anysched: error: {_one_line(error)}", file=sys.stderr)


def warn(message: str) -> None:
    """Show a warning on one line of stderr."""
    print(f"anysched: warning: {message}", file=sys.stderr)


def run_async(function: Callable[..., Awaitable[T]], *args: Any, loop: str) -> T:
    """Call an async function on an event loop of its own.

    Args:
        function: what to call.
        *args: its arguments.
        loop: ``asyncio``, ``uvloop`` or ``trio``.

    Raises:
        LoopNotInstalled: it is not.
    """
    import anyio

    if loop != "asyncio" and find_spec(loop) is None:
        raise LoopNotInstalled(loop)

    options = {"use_uvloop": True} if loop == "uvloop" else {}
    return anyio.run(partial(function, *args), backend="trio" if loop == "trio" else "asyncio", backend_options=options)


def _prepare_streams() -> None:
    """Have something to print to, that takes every character."""
    # A stream that was closed for us, as `>&-` does, is None.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open until the end

    # What stands in for it may take every character anyway.
    if hasattr(sys.stdout, "reconfigure"):
        # What the encoding lacks is written as Python writes it on stderr.
        cast("Any", sys.stdout).reconfigure(errors="backslashreplace")


def _printed(command: Callable[[Namespace], int], arguments: Namespace) -> int:
    """Call a command, and have all that it prints on its way.

    Raises:
        UnwritableOutput: there is no room for it.
    """
    try:
        try:
            return command(arguments)
        finally:
            sys.stdout.flush()
    except Exception as error:
        full = [leaf for leaf in _leaves(error) if isinstance(leaf, OSError) and leaf.errno in _NO_ROOM]

        if not full:
            raise

        _discard_output()
        raise UnwritableOutput(str(full[0])) from error


def _discard_output() -> None:
    """Nobody takes it. Python would complain once more at its exit."""
    # Where somebody else's stream stands in for standard output, that is theirs to close.
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]

    members = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return [leaf for member in members for leaf in _leaves(member)]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
