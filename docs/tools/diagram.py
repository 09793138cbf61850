"""Makes docs/life-of-a-run.md from the table of moves, the one place that says which status follows which.

Run it with ``python docs/tools/diagram.py`` after a change of ``anysched.run.TRANSITIONS``; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from anysched.run import FINAL, TRANSITIONS, Move, RunStatus

PAGE = Path(__file__).parents[1] / "life-of-a-run.md"

MEANING = {
    Move.RELEASE: "what it waited for has ended",
    Move.FALL_DUE: "its time has come",
    Move.CLAIM: "a worker takes it, or it is handed over to one that waits for work; a new fencing token",
    Move.SUCCEED: "the function returned",
    Move.FAIL: "the attempt failed and no other is allowed",
    Move.RETRY: "the attempt failed and another is allowed",
    Move.SNOOZE: "the function raised `Snooze`; costs no attempt",
    Move.HAND_BACK: "its node stops; the attempt is refunded",
    Move.CRASH: "its node's lease ran out; costs no attempt",
    Move.POISON: "it took its node down once too often",
    Move.CANCEL: "somebody cancelled it",
    Move.EXPIRE: "it was not started by the time it had to be",
    Move.RESCHEDULE: "somebody moved it to another time",
    Move.REVIVE: "somebody retries it by hand",
}

TEXT = """\
# The life of a run

<!-- Made by docs/tools/diagram.py from anysched.run.TRANSITIONS. Do not edit. -->

A run ends in exactly one of the four statuses on the way out. What is not in this picture does not happen.

```mermaid
{diagram}
```

| move | when |
|---|---|
{moves}

A new run begins as `ready`, as `scheduled` if it is due later, or as `waiting` if a run before it has to end first.
"""


def diagram() -> str:
    """The table as a state diagram: one arrow for each pair of statuses, with all moves between them."""
    lines = ["stateDiagram-v2", "    direction LR"]
    lines += [f"    [*] --> {status}" for status in (RunStatus.READY, RunStatus.SCHEDULED, RunStatus.WAITING)]

    for status, moves in TRANSITIONS.items():
        arrows: dict[RunStatus, list[str]] = {}

        for move, target in moves.items():
            arrows.setdefault(target, []).append(move.replace("_", " "))

        lines += [f"    {status} --> {target}: {', '.join(names)}" for target, names in arrows.items()]

    return "\n".join([*lines, *(f"    {status} --> [*]" for status in RunStatus if status in FINAL)])


def page() -> str:
    """The whole page."""
    moves = "\n".join(f"| {move.replace('_', ' ')} | {MEANING[move]} |" for move in Move)
    return TEXT.format(diagram=diagram(), moves=moves)


if __name__ == "__main__":
    PAGE.write_text(page())
