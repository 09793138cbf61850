"""What goes wrong on a command line and is nobody's bug: each is shown as one line."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from anysched.errors import AnySchedError, InvalidArguments, InvalidOption, InvalidSchedule, NaiveDatetime, UnknownJob

__all__ = [
    "AppBroken",
    "AppNotFound",
    "BackendInProcess",
    "CommandError",
    "CommandExited",
    "InvalidCrontab",
    "LoopNotInstalled",
    "NotAScheduler",
    "NothingToTalkTo",
    "UnreadableFile",
    "UnwritableOutput",
    "UsageError",
    "reading_words",
]


class CommandError(AnySchedError):
    """A command could not do what was asked, which made sense. The exit status is 1."""


class UsageError(CommandError):
    """What was asked, by words or by variables, makes no sense. Nothing was begun. The exit status is 2."""


@contextmanager
def reading_words() -> Generator[None]:
    """Around what reads a command's words and variables: what is refused there is the asker's mistake.

    The same errors elsewhere, such as those of a declared entry, are the application's.

    Raises:
        UsageError: a word or a variable is refused.
    """
    try:
        yield
    except (InvalidArguments, InvalidOption, InvalidSchedule, NaiveDatetime, UnknownJob) as error:
        raise UsageError(str(error)) from error


class AppNotFound(UsageError):
    """There is no such module, or nothing of that name in it.

    Args:
        path: the import path as written.
        reason: what is missing.
        candidates: import paths that would do.
    """

    def __init__(self, path: str, reason: str, candidates: Sequence[str] = ()) -> None:
        hint = f"; there is {', '.join(candidates)}" if candidates else ""
        super().__init__(f"cannot find {path!r}: {reason}{hint}")


class AppBroken(CommandError):
    """The application's own code raised while it was loaded; the error is the cause."""

    def __init__(self, path: str, doing: str, error: BaseException) -> None:
        super().__init__(f"{doing} {path!r} failed: {type(error).__name__}: {error}")


class NotAScheduler(UsageError):
    """What an import path leads to is something else."""

    def __init__(self, path: str, found: object) -> None:
        super().__init__(
            f"{path!r} is of type {type(found).__name__}: "
            "expected a Scheduler, or a function without arguments that makes one"
        )


class NothingToTalkTo(UsageError):
    """A command was given neither an application nor a backend."""

    def __init__(self) -> None:
        super().__init__("say which system: module:attribute of a Scheduler, or --backend URL, or ANYSCHED_BACKEND")


class BackendInProcess(CommandError):
    """A command wants to look at, or give work to, another process's memory."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path or 'this scheduler'} keeps everything in its own process's memory, "
            "where no other process can reach it: give it a backend, such as Scheduler('redis://localhost')"
        )


class LoopNotInstalled(CommandError):
    """An event loop was asked for that is not installed."""

    def __init__(self, loop: str) -> None:
        super().__init__(f"{loop} is not installed: pip install 'anysched[{loop}]'")


class UnreadableFile(CommandError):
    """A file cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"cannot read {path!r}: {reason}")


class UnwritableOutput(CommandError):
    """There is no room for what is to be printed: the disk is full."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot write: {reason}")


class InvalidCrontab(CommandError):
    """Lines of a crontab cannot be read.

    Args:
        name: what to call it.
        problems: the number of each such line, and what is wrong with it.
    """

    def __init__(self, name: str, problems: Sequence[tuple[int, str]]) -> None:
        shown = "; ".join(f"line {number}: {reason}" for number, reason in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        super().__init__(f"{name} is malformed, and nothing was started: {shown}{more}")
        self.problems: tuple[tuple[int, str], ...] = tuple(problems)


class CommandExited(CommandError):
    """A crontab's command ended with another status than 0."""

    def __init__(self, status: int) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(f"the command {how}")
        self.status = status
