"""From a parsed command line to an exit status: calls the command, and shows what went wrong as one line."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar, cast

from anysched.cli.failures import LoopNotInstalled, UsageError
from anysched.errors import AnySchedError

__all__ = ["carry_out", "complain", "run_async", "warn"]

T = TypeVar("T")

_INTERRUPTED = 130
_FAILED = 1
_MISUSED = 2


def carry_out(arguments: Namespace) -> int:
    """Do what a command line says.

    Args:
        arguments: parsed; ``command`` names the function that does it, as ``module:function``.

    Returns:
        The exit status.
    """
    module, _, function = arguments.command.partition(":")
    command: Callable[[Namespace], int] = getattr(import_module(module), function)
    status = _FAILED

    try:
        status = command(arguments)
        sys.stdout.flush()
    except* AnySchedError as group:
        status = _MISUSED if all(isinstance(error, UsageError) for error in _leaves(group)) else _FAILED

        for error in _leaves(group):
            complain(error, verbose=arguments.verbose)
    except* KeyboardInterrupt:
        status = _INTERRUPTED
    except* BrokenPipeError:
        # Whoever read our output has had enough, as `| head` does; Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

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


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]

    members = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return [leaf for member in members for leaf in _leaves(member)]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
