"""The command line: ``anysched run``, ``enqueue``, ``check``, ``demo`` and what looks after a running system.

Nothing here is needed by a program that uses anysched as a library. What a command needs is imported when that command
is given, so that ``anysched --help`` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        argv: its words, without the program's name; default: those of the process.

    Returns:
        The exit status: 0; 1 if what was asked for failed at run time; 2 if it was not asked for properly, by words or
        by variables, and nothing was begun; 128 and the number of the signal that ended it at once.
    """
    from anysched.cli.carrying import carry_out
    from anysched.cli.tree import build_parser

    return carry_out(build_parser().parse_args(argv))
