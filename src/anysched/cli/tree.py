"""Every command, its arguments and its help, as one tree of parsers; completion is made from the same tree.

Nothing but names is in here: a command is written ``module:function`` and imported when it is carried out.
"""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, cast

from anysched.cli import records

__all__ = ["CommandParser", "build_parser"]

_NEGATIVE_NUMBER = re.compile(r"-(?:\d+|\d*\.\d+)(?:[eE][+-]?\d+)?$")
_LOOPS = ("asyncio", "uvloop", "trio")
_LIVE = ("waiting", "scheduled", "ready", "running", "retrying")
_STATUSES = (*_LIVE, "succeeded", "failed", "cancelled", "expired")
_OVERLAPS = ("skip", "queue_one", "queue_all", "cancel_previous", "allow")


class CommandParser(ArgumentParser):
    """A parser whose options may stand anywhere among the positional arguments."""

    default_command: str | None = None
    """The command that is meant where none is named."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._is_intermixed = False
        # argparse takes no number with an exponent for an argument, and has no public way to make it.
        self._negative_number_matcher = _NEGATIVE_NUMBER

    # The base class has overloads for its namespace, which do not matter here.
    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Namespace, list[str]]:
        """Parse; the last parser in the line does it intermixed.

        Otherwise ``entries show app:scheduler --json ID`` would take the application for the id.
        """
        if self.default_command is not None and args is not None and not _names_command(args):
            args = [self.default_command, *args]

        is_last = self._subparsers is None

        if not is_last or self._is_intermixed:
            return cast("Any", super().parse_known_args(args, namespace))

        self._is_intermixed = True

        try:
            return cast("Any", self.parse_known_intermixed_args(args, namespace))
        finally:
            self._is_intermixed = False


def _names_command(words: Sequence[str]) -> bool:
    """Whether words begin with a command, or ask for the help of all: an import path has a colon, no command has."""
    return bool(words) and (words[0] in ("-h", "--help") or not (words[0].startswith("-") or ":" in words[0]))


class _Commands(Protocol):
    """What ``add_subparsers`` gives, as far as it is used here."""

    def add_parser(self, name: str, *, help: str, description: str, epilog: str | None) -> CommandParser: ...


_EPILOG = """\
exit status: 0 if all went well; 1 if something went wrong at run time; 2 for a command line, or an ANYSCHED_ variable,
that makes no sense, when nothing has been begun: an argument that is not JSON or does not fit, a job, an application or
a queue that cannot be, a length of time, an instant or a name that cannot be read; 130 when interrupted"""


def build_parser() -> CommandParser:
    """The whole command line."""
    parser = CommandParser(
        prog="anysched",
        description="Schedules and background jobs: run them, give them work, look after them.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"anysched {_version()}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks, and log in more detail")
    commands = cast("_Commands", parser.add_subparsers(title="commands", metavar="COMMAND", required=True))

    for add in (_add_run, _add_enqueue, _add_check, _add_demo, _add_entries, _add_runs, _add_queues, _add_nodes):
        add(commands)

    _add_stats(commands)
    _add_completion(commands)
    return parser


# --- building blocks -----------------------------------------------------------------------------------------------


def _command(commands: _Commands, name: str, does: str, command: str, *, epilog: str | None = None) -> CommandParser:
    parser = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=epilog)
    parser.add_argument("-v", "--verbose", action="store_true", default=SUPPRESS, help="show tracebacks")
    parser.set_defaults(command=command)
    return parser


def _group(commands: _Commands, name: str, does: str) -> _Commands:
    """Commands about one kind of thing, of which ``ls`` is the one that is meant where none is named."""
    epilog = f"anysched {name} [app:scheduler] [options]: the same with ls"
    parser = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", epilog=epilog)
    parser.default_command = "ls"
    return cast("_Commands", parser.add_subparsers(title="commands", metavar="COMMAND", required=True))


def _asks(commands: _Commands, name: str, does: str, command: str, *, fields: Sequence[str] = ()) -> CommandParser:
    """A command about a system; with ``fields`` one that reads."""
    epilog = f"--json prints these fields:\n  {_wrapped(fields)}" if fields else None
    parser = _command(commands, name, does, command, epilog=epilog)
    _add_system(parser)

    if fields:
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    return parser


def _add_system(parser: CommandParser) -> None:
    parser.add_argument("target", nargs="?", metavar="app:scheduler", help="import path of the Scheduler")
    parser.add_argument("--backend", metavar="URL", help="instead of an application: redis://... (or ANYSCHED_BACKEND)")
    parser.add_argument("--namespace", metavar="NAME", help="with --backend: whose data (default: anysched)")
    _add_loop(parser)


def _add_loop(parser: CommandParser) -> None:
    parser.add_argument("--loop", choices=_LOOPS, default="asyncio", help="the event loop (default: asyncio)")


def _wrapped(names: Sequence[str]) -> str:
    lines = [""]

    for name in names:
        if len(lines[-1]) + len(name) > 90:
            lines.append("")

        lines[-1] += f"{name} "

    return "\n  ".join(line.rstrip() for line in lines)


def _number_from(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least:
            return int(text)

        message = f"{text!r} is not a whole number from {least}"
        raise ArgumentTypeError(message)

    return number


def _version() -> str:
    try:
        return version("anysched")
    except PackageNotFoundError:
        return "(not installed)"


# --- commands ------------------------------------------------------------------------------------------------------

_RUN_EPILOG = """\
The first SIGINT or SIGTERM stops gracefully: nothing new is begun, what runs gets the configured shutdown_timeout to
end; the second stops now, and what ran is handed to others; the third does not even wait for that.

exit status: 0 after a graceful stop; 1 if it failed, or had to leave a thread behind; 2 for a command line, or an
ANYSCHED_ variable, that makes no sense; 130 or 143 when SIGINT or SIGTERM made it stop now"""


def _add_run(commands: _Commands) -> None:
    parser = _command(commands, "run", "fire entries and execute jobs", "anysched.cli.running:run", epilog=_RUN_EPILOG)
    _add_system(parser)
    parser.add_argument(
        "--queue", action="append", metavar="NAME", dest="queues", help="execute only this queue's runs"
    )
    parser.add_argument(
        "--concurrency", type=_number_from(1), metavar="N", help="runs at once (default: the executor's)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-schedules", action="store_true", help="fire no entries, only execute")
    which.add_argument("--only-schedules", action="store_true", help="execute nothing, only fire entries")
    parser.add_argument("--reload", action="store_true", help="restart when a Python file below this directory changes")
    parser.add_argument(
        "--crontab", metavar="FILE", help="run the commands of a crontab, each of its lines once in the cluster"
    )
    parser.add_argument(
        "--time-limit", metavar="DURATION", help="with --crontab: end a command that takes longer, such as 1h30m"
    )


def _add_enqueue(commands: _Commands) -> None:
    parser = _command(commands, "enqueue", "have a job run", "anysched.cli.enqueueing:enqueue")
    parser.add_argument("target", metavar="app:scheduler", help="import path of the Scheduler")
    parser.add_argument("job", metavar="JOB", help="the job's name")
    parser.add_argument("values", nargs="*", metavar="JSON-ARG", help="""an argument as JSON, such as 42 or '"text"'""")
    parser.add_argument("--kw", action="append", metavar="NAME=JSON", default=[], help="an argument by its name")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--delay", metavar="DURATION", help="due after this: 5s, 1h30m, or a number of seconds")
    when.add_argument("--at", metavar="ISO", help="due at this instant, such as 2030-01-01T08:00:00+01:00")
    parser.add_argument("--queue", metavar="NAME", help="instead of the job's own queue")
    parser.add_argument("--priority", type=int, metavar="N", help="-100 to 100, higher first")
    parser.add_argument("--key", metavar="TEXT", help="if a live run has this key, it is returned")
    parser.add_argument("--wait", action="store_true", help="wait for the run to end, and print its result as JSON")
    _add_loop(parser)


def _add_check(commands: _Commands) -> None:
    does = "look whether everything is in place"
    _asks(commands, "check", does, "anysched.cli.checking:check", fields=records.CHECK_FIELDS)


def _add_demo(commands: _Commands) -> None:
    does = "show what anysched does, in about 15 seconds and without a server"
    parser = _command(commands, "demo", does, "anysched.cli.demo:demo")
    parser.add_argument("--plain", action="store_true", help="print lines, also in a terminal")
    _add_loop(parser)


def _add_entries(commands: _Commands) -> None:
    entries = _group(commands, "entries", "the jobs that are on a schedule")
    at = "anysched.cli.entries"
    _asks(entries, "ls", "list the entries", f"{at}:list_entries", fields=records.ENTRY_FIELDS)
    actions = [
        _asks(entries, "show", "show one entry", f"{at}:show_entry", fields=records.ENTRY_FIELDS),
        pause := _asks(entries, "pause", "stop an entry from firing, on every node", f"{at}:pause_entry"),
        _asks(entries, "resume", "let it fire again", f"{at}:resume_entry"),
        trigger := _asks(entries, "trigger", "run it once, now", f"{at}:trigger_entry"),
        _asks(entries, "remove", "remove an entry", f"{at}:remove_entry"),
    ]

    for parser in actions:
        parser.add_argument("id", metavar="ID", help="the entry's id")

    pause.add_argument("--note", default="", metavar="TEXT", help="why, for others to see")
    trigger.add_argument("--overlap", choices=_OVERLAPS, help="instead of the entry's own rule")


def _add_runs(commands: _Commands) -> None:
    runs = _group(commands, "runs", "what was enqueued or fired")
    at = "anysched.cli.runs"
    ls = _asks(runs, "ls", "list runs", f"{at}:list_runs", fields=records.RUN_FIELDS)
    ls.add_argument("--status", choices=_STATUSES, help="only of this status")
    ls.add_argument("--queue", metavar="NAME", help="only of this queue")
    ls.add_argument("--job", metavar="NAME", help="only of this job")
    ls.add_argument("--limit", type=_number_from(1), default=50, metavar="N", help="at most so many (default: 50)")
    show = _asks(runs, "show", "show one run", f"{at}:show_run", fields=records.RUN_FIELDS)
    cancel = _asks(runs, "cancel", "cancel runs, also while they are running", f"{at}:cancel_runs")
    retry = _asks(runs, "retry", "make failed runs ready again", f"{at}:retry_runs")
    reschedule = _asks(runs, "reschedule", "move a run to another time", f"{at}:reschedule_run")
    show.add_argument("id", metavar="ID", help="the run's id")
    cancel.add_argument("ids", nargs="*", metavar="ID", help="ids of runs")
    cancel.add_argument("--all", action="store_true", help="every run that has not ended")
    cancel.add_argument("--status", choices=_LIVE, help="with --all: only of this status")
    cancel.add_argument("--job", metavar="NAME", help="with --all: only of this job")
    cancel.add_argument("--queue", metavar="NAME", help="with --all: only of this queue")
    retry.add_argument("ids", nargs="*", metavar="ID", help="ids of runs")
    retry.add_argument("--all-failed", action="store_true", help="every failed run")
    retry.add_argument("--job", metavar="NAME", help="with --all-failed: only of this job")
    retry.add_argument("--queue", metavar="NAME", help="with --all-failed: only of this queue")
    reschedule.add_argument("id", metavar="ID", help="the run's id")
    when = reschedule.add_mutually_exclusive_group(required=True)
    when.add_argument("--delay", metavar="DURATION", help="due after this: 5s, 1h30m, or a number of seconds")
    when.add_argument("--at", metavar="ISO", help="due at this instant, such as 2030-01-01T08:00:00+01:00")


def _add_queues(commands: _Commands) -> None:
    queues = _group(commands, "queues", "where runs wait")
    at = "anysched.cli.queues"
    _asks(queues, "ls", "list the queues", f"{at}:list_queues", fields=records.QUEUE_FIELDS)

    for name, does in (("pause", "let nobody take runs from a queue"), ("resume", "let them take runs again")):
        parser = _asks(queues, name, does, f"{at}:{name}_queue")
        parser.add_argument("queue", metavar="QUEUE", help="the queue's name")


def _add_nodes(commands: _Commands) -> None:
    nodes = _group(commands, "nodes", "the processes that execute and fire")
    _asks(nodes, "ls", "list the live nodes", "anysched.cli.nodes:list_nodes", fields=records.NODE_FIELDS)


def _add_stats(commands: _Commands) -> None:
    does = "count runs, entries, queues and nodes"
    _asks(commands, "stats", does, "anysched.cli.nodes:show_stats", fields=records.STATS_FIELDS)


def _add_completion(commands: _Commands) -> None:
    does = "print a script that completes command lines in a shell"
    epilog = 'bash, zsh: eval "$(anysched completion bash)"    fish: anysched completion fish | source'
    parser = _command(commands, "completion", does, "anysched.cli.completing:completion", epilog=epilog)
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
