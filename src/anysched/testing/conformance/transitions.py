"""The table of moves, walked: every move that it has is made once, and every one that it has not is seen refused.

A run is brought into each status, and then everything is done that makes each move happen. Either the run is then where
:data:`~anysched.run.TRANSITIONS` says, or it is where it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anysched.backends import ClaimedRun
from anysched.run import FINAL, TRANSITIONS, Move, RunStatus

from .stage import LATER, Stage, Staged, new_run

__all__ = ["TransitionConformance"]

EXPIRY = 150
"""Milliseconds in which a run that is to expire has to have been brought into its status."""

RUN = "the run"
Step = Callable[[Stage, ClaimedRun | None], Awaitable[Any]]


class TransitionConformance(Staged):
    """Every status, and every move."""

    @pytest.mark.parametrize("move", [move.value for move in Move])
    @pytest.mark.parametrize("status", [status.value for status in RunStatus])
    async def test_moves_are_those_of_the_table(self, stage: Stage, status: str, move: str) -> None:
        """A move that is in the table is made; one that is not leaves the run as it is."""
        fields = {"expires_ms": EXPIRY} if move == "expire" else {}
        held = await bring(stage, status, fields)
        assert status == await stage.status(RUN)

        for step in MOVES[Move(move)]:
            await step(stage, held)

        expected = TRANSITIONS[RunStatus(status)].get(Move(move), status)
        assert expected == await stage.status(RUN)

    @pytest.mark.parametrize("status", sorted(FINAL))
    async def test_a_final_record_stays_as_it_is(self, stage: Stage, status: str) -> None:
        """Whatever is tried but to revive it."""
        held = await bring(stage, status, {})
        before = await stage.run(RUN)

        for move in set(Move) - {Move.REVIVE}:
            for step in MOVES[move]:
                await step(stage, held)

        assert before == await stage.run(RUN)


# --- into a status -------------------------------------------------------------------------------------------


async def bring(stage: Stage, status: str, fields: dict[str, Any]) -> ClaimedRun | None:
    """Bring the run into a status; what was claimed of it on the way, if it was."""
    await stage.join("holder", jobs=("job",), queues=("queue",))
    fields = {"queue": "queue"} | fields

    match status:
        case "waiting":
            await stage.put(next_ms=await stage.backend.time_ms() + LATER)
            await stage.trigger("first", job="blocking")
            await stage.trigger(RUN, overlap="queue_all", **fields)
            return None

        case "scheduled":
            await stage.add(
                RUN, delay_ms=LATER, **fields | ({"expires_at_ms": await _soon(stage)} if len(fields) > 1 else {})
            )
            return None

        case "ready" | "cancelled" | "expired":
            await stage.add(RUN, **fields | ({"expires_ms": 1} if status == "expired" else {}))

            if status == "cancelled":
                await stage.backend.cancel(RUN)

            if status == "expired":
                await _let_pass(stage, None, 5)

            return None

        case _:
            await stage.add(RUN, **fields)
            held = await stage.claim_one("holder", queues=("queue",))

            if status != "running":
                kind = "retry" if status == "retrying" else status
                await stage.settle(held, kind, node_id="holder", delay_ms=LATER)

            return held


async def _soon(stage: Stage) -> int:
    return await stage.backend.time_ms() + EXPIRY


# --- moves ---------------------------------------------------------------------------------------------------


async def _let_pass(stage: Stage, _held: ClaimedRun | None, ms: int = EXPIRY + 20) -> None:
    await stage.advance(ms)
    await stage.tidy()


async def _end_what_blocks(stage: Stage, _held: ClaimedRun | None) -> None:
    await stage.join("blocking", jobs=("blocking",))

    if await stage.backend.get_entry("entry") is None:
        await stage.put(next_ms=await stage.backend.time_ms() + LATER)
        await stage.trigger("first", job="blocking")

    await stage.settle(await stage.claim_one("blocking"), "succeeded", node_id="blocking")


async def _move_to_now(stage: Stage, _held: ClaimedRun | None) -> None:
    """Make what is due later due soon, and let it be so: only that falls due."""
    if await stage.status(RUN) in {"scheduled", "retrying"}:
        await stage.backend.reschedule(RUN, delay_ms=10)

    await _let_pass(stage, None, 20)


async def _claim(stage: Stage, _held: ClaimedRun | None) -> None:
    await stage.join("another")
    await stage.claim("another", count=9, queues=("queue",))


async def _reschedule(stage: Stage, _held: ClaimedRun | None) -> None:
    await stage.backend.reschedule(RUN, delay_ms=LATER)


async def _revive(stage: Stage, _held: ClaimedRun | None) -> None:
    await stage.backend.revive(RUN)


async def _enqueue_again(stage: Stage, _held: ClaimedRun | None) -> None:
    await stage.backend.enqueue([new_run(RUN, queue="queue")])


async def _die(stage: Stage, _held: ClaimedRun | None) -> None:
    await stage.die("holder")


async def _poison(stage: Stage, _held: ClaimedRun | None) -> None:
    """Let every node die that claims it, three times."""
    await stage.die("holder")

    for name in ("second", "third"):
        if await stage.status(RUN) == "ready" and (await stage.run(RUN)).crashes:
            await stage.join(name)
            await stage.claim(name, queues=("queue",))
            await stage.die(name)


def _settling(kind: str) -> Step:
    """Settle under the token that the run was held with, or a made-up one if it never was."""

    async def settle(stage: Stage, held: ClaimedRun | None) -> None:
        held = held or ClaimedRun(id=RUN, job="job", token=1, attempt=1)
        await stage.settle(held, kind, node_id="holder", delay_ms=LATER)

    return settle


async def _cancel(stage: Stage, held: ClaimedRun | None) -> None:
    await stage.backend.cancel(RUN)

    if held is not None:
        await stage.settle(held, "released", node_id="holder")


MOVES: dict[Move, list[Step]] = {
    Move.RELEASE: [_end_what_blocks],
    Move.FALL_DUE: [_move_to_now],
    Move.CLAIM: [_enqueue_again, _claim],
    Move.SUCCEED: [_settling("succeeded")],
    Move.FAIL: [_settling("failed")],
    Move.RETRY: [_settling("retry")],
    Move.SNOOZE: [_settling("snooze")],
    Move.HAND_BACK: [_settling("released")],
    Move.CRASH: [_die],
    Move.POISON: [_poison],
    Move.CANCEL: [_cancel],
    Move.EXPIRE: [_let_pass],
    Move.RESCHEDULE: [_reschedule],
    Move.REVIVE: [_revive],
}
