"""Going on through an outage: the same command again and again, and one word at each end."""

from __future__ import annotations

import anyio
import pytest
from anyio import create_task_group, current_time
from attrs import define, field

from anysched.errors import BackendRefused, BackendUnavailable
from anysched.runtime.persisting import Outage, persist


@define(eq=False)
class Server:
    """Answers only from an instant on."""

    up_from: float
    tries: list[float] = field(factory=list[float])

    async def ask(self) -> str:
        await anyio.lowlevel.checkpoint()
        self.tries.append(current_time())

        if current_time() < self.up_from:
            raise BackendUnavailable("away")

        return "here"


def outage_told_to(said: list[str]) -> Outage:
    return Outage(on_lost=lambda error: said.append(str(error)), on_found=lambda: said.append("found"))


async def test_it_repeats_until_there_is_an_answer() -> None:
    """First after some 50 ms, then less and less often, but at least every two seconds, for as long as it takes."""
    said: list[str] = []
    server = Server(up_from=current_time() + 600)
    assert "here" == await persist(server.ask, outage_told_to(said))
    pauses = [after - before for before, after in zip(server.tries, server.tries[1:], strict=False)]
    assert 0.025 <= pauses[0] <= 0.05
    assert 1.0 <= min(pauses[10:]) <= max(pauses) <= 2.0
    assert 600 <= current_time() <= 602
    assert ["away", "found"] == said


async def test_many_that_meet_one_outage_tell_of_it_once() -> None:
    """Ten loops fail and recover: one word when it begins, one when it ends."""
    said: list[str] = []
    outage = outage_told_to(said)

    async with create_task_group() as loops:
        for _ in range(10):
            loops.start_soon(persist, Server(up_from=current_time() + 30).ask, outage)

    assert ["away", "found"] == said
    assert not outage.lost


async def test_any_other_error_is_raised_at_once() -> None:
    """What repeating does not mend is not repeated."""
    said: list[str] = []

    async def refused() -> None:
        await anyio.lowlevel.checkpoint()
        raise BackendRefused("wrong password")

    with pytest.raises(BackendRefused):
        await persist(refused, outage_told_to(said))

    assert [] == said


async def test_it_can_be_cancelled_between_two_tries() -> None:
    """A time limit around it holds."""
    began = current_time()

    with anyio.move_on_after(5):
        await persist(Server(up_from=float("inf")).ask, outage_told_to([]))

    assert 5.0 == current_time() - began
