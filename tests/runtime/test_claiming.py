"""What a node wishes for, and what it does with what it gets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest
from anyio import create_task_group, current_time
from attrs import define, field

from anysched.backends.records import Claim, ClaimedRun, WorkReply
from anysched.runtime.claiming import Claiming


@define(eq=False)
class Hands:
    room: int = 10
    capacity: int = 10
    pace: float = 1.0
    begun: int = 0
    knows: bool = True
    accepted: list[str] = field(factory=list[str])
    surrendered: list[float] = field(factory=list[float])

    def accept(self, run: ClaimedRun, claimed_ms: int) -> bool:
        if self.knows:
            self.accepted.append(run.id)
            self.room -= 1

        return self.knows

    def surrender(self) -> None:
        self.surrendered.append(current_time())
        self.room = 0


def claiming_with(hands: Hands, **options: Any) -> Claiming:
    given: dict[str, Any] = {
        "queues": {"default": 1},
        "strict": False,
        "limits": {},
        "tick_interval": 5.0,
        "trusted": lambda: True,
        "poke": lambda: None,
    }
    return Claiming(hands=hands, **(given | options))


def runs(*names: str) -> tuple[ClaimedRun, ...]:
    return tuple(ClaimedRun(id=name, job="greet", token=1, attempt=1) for name in names)


def wished(claiming: Claiming) -> Claim:
    claim = claiming.wish()
    assert claim is not None
    return claim


def test_it_asks_for_as_much_as_there_is_room_for() -> None:
    """Neither more nor less, while attempts take long; never more than 256."""
    assert 10 == wished(claiming_with(Hands(room=10))).count
    assert 256 == wished(claiming_with(Hands(room=1000))).count
    assert claiming_with(Hands(room=0)).wish() is None
    assert claiming_with(Hands(room=-3)).wish() is None


def test_it_takes_some_in_advance_while_attempts_are_short() -> None:
    """As many as are carried out in 5 ms; in two halves, one behind the other.

    Break: all at once, there is nothing to carry out while the next are claimed.
    """
    assert (10 + 50) / 2 == wished(claiming_with(Hands(pace=0.001))).count
    assert 50 - 35 == wished(claiming_with(Hands(room=-35, pace=0.001))).count
    assert (10 + 12) / 2 == wished(claiming_with(Hands(pace=0.004))).count


@pytest.mark.parametrize(("capacity", "most"), [(1, 15), (10, 150), (32, 480)])
def test_what_is_taken_in_advance_is_limited(capacity: int, most: int) -> None:
    """However short attempts have been: so many may have to wait for one that turns out to be long."""
    hands = Hands(room=capacity, capacity=capacity, pace=1e-9)
    assert -(-(capacity + most) // 2) == wished(claiming_with(hands)).count
    hands.room = -most
    assert claiming_with(hands).wish() is None


def test_the_wishes_of_a_node_are_numbered() -> None:
    """So that a repeated command is told from a new one."""
    claiming = claiming_with(Hands())
    assert [1, 2, 3] == [wished(claiming).number for _ in range(3)]


def test_nothing_is_claimed_without_trust_in_the_lease() -> None:
    """A node that may be given up takes nothing, and what was on its way is handed back.

    Break: starting it would run it under a lease that may be somebody else's, with nobody to tell.
    """
    hands, trusted = Hands(), [True]
    claiming = claiming_with(hands, trusted=lambda: trusted[0])
    claim = wished(claiming)
    trusted[0] = False
    assert claiming.wish() is None
    assert runs("a", "b") == tuple(claiming.receive(claim, WorkReply(now_ms=0, runs=runs("a", "b"), more=True)))
    assert [] == hands.accepted


def test_what_the_hands_do_not_take_is_returned() -> None:
    """Such as a run of a job that is not known here."""
    claiming = claiming_with(Hands(knows=False))
    assert runs("a") == tuple(claiming.receive(None, WorkReply(now_ms=0, runs=runs("a"))))


def test_strict_queues_are_asked_in_the_order_of_their_weights() -> None:
    """Always the same order, the greatest weight first."""
    claiming = claiming_with(Hands(), queues={"low": 1, "high": 9, "mid": 3}, strict=True)
    assert {("high", "mid", "low")} == {wished(claiming).queues for _ in range(50)}


def test_weighted_queues_come_first_in_proportion() -> None:
    """Of 6, 3 and 1: the first is asked first in about six tenths of the wishes, and each wish names all."""
    claiming = claiming_with(Hands(), queues={"a": 6, "b": 3, "c": 1})
    orders = [wished(claiming).queues for _ in range(3000)]
    first = Counter(order[0] for order in orders)
    assert {("a", "b", "c")} == {tuple(sorted(order)) for order in orders}
    assert 1650 < first["a"] < 1950
    assert 780 < first["b"] < 1020
    assert 220 < first["c"] < 380


def test_limits_travel_with_the_wish() -> None:
    """So many attempts of a job may live at once across the cluster."""
    assert {"greet": 2} == wished(claiming_with(Hands(), limits={"greet": 2})).limits


async def test_a_hungry_node_looks_again_at_the_next_due_time() -> None:
    """The answer names an instant: it is looked at exactly then, or after `tick_interval` if that comes first."""
    pokes: list[float] = []
    claiming = claiming_with(Hands(), poke=lambda: pokes.append(current_time()))

    async with create_task_group() as group:
        await group.start(claiming.run)
        began = current_time()
        pokes.clear()

        for due_in_ms, expected in ((1500, 1.5), (60_000, 5.0), (0, 5.0), (-20, 0.0)):
            began = current_time()
            claim = wished(claiming)
            next_due_ms = 1_000_000 + due_in_ms if due_in_ms else 0
            claiming.receive(claim, WorkReply(now_ms=1_000_000, next_due_ms=next_due_ms))
            assert claiming.wish() is None
            await anyio.sleep(expected + 0.001)
            assert [began + expected] == pokes
            pokes.clear()

        group.cancel_scope.cancel()


async def test_a_hint_makes_it_look_at_once() -> None:
    """Hungry or not, `stir` leads to a wish."""
    pokes: list[float] = []
    claiming = claiming_with(Hands(), poke=lambda: pokes.append(current_time()))
    claiming.receive(wished(claiming), WorkReply(now_ms=0))
    assert claiming.wish() is None
    claiming.stir()
    assert claiming.wish() is not None
    assert 1 == len(pokes)


async def test_a_hint_during_a_claim_is_not_lost() -> None:
    """What was heard since the claim was sent makes its answer out of date: the node does not settle down to wait.

    Break: without `_heard` the run that was hinted waits for `tick_interval`.
    """
    claiming = claiming_with(Hands())
    claim = wished(claiming)
    claiming.stir()
    claiming.receive(claim, WorkReply(now_ms=0))
    assert claiming.wish() is not None


async def test_what_was_taken_in_advance_is_handed_back_when_nothing_moves() -> None:
    """Attempts were short and now the capacity is blocked: after 100 ms what waits here goes to others.

    Break: without the check it waits behind attempts that take an hour, though another node is free.
    """
    hands = Hands(room=2, capacity=2, pace=0.001)
    claiming = claiming_with(hands)

    async with create_task_group() as group:
        await group.start(claiming.run)
        began = current_time()
        claiming.receive(wished(claiming), WorkReply(now_ms=0, runs=runs("a", "b", "c", "d"), more=True))
        assert -2 == hands.room
        hands.begun = 2
        await anyio.sleep(0.15)
        assert [] == hands.surrendered
        await anyio.sleep(3600)
        group.cancel_scope.cancel()

    assert [0.2] == [round(at - began, 6) for at in hands.surrendered]


def test_a_run_may_be_handed_over_to_who_has_room_and_listens() -> None:
    """Not in advance: others may be free."""
    assert wished(claiming_with(Hands(room=1), hears=lambda: True)).takes
    assert not wished(claiming_with(Hands(room=1), hears=lambda: False)).takes
    assert not wished(claiming_with(Hands(room=0, pace=0.001), hears=lambda: True)).takes


async def test_who_was_hungry_without_room_asks_again_when_it_has_some() -> None:
    """Once, so that it may be handed a run.

    Break: it stays hungry, and each run that comes then needs a round trip more.
    """
    hands = Hands(room=0, pace=0.001)
    claiming = claiming_with(hands, hears=lambda: True)
    claiming.receive(wished(claiming), WorkReply(now_ms=0))
    assert claiming.wish() is None
    hands.room = 1
    claim = wished(claiming)
    assert claim.takes
    claiming.receive(claim, WorkReply(now_ms=0))
    assert claiming.wish() is None


async def test_who_is_woken_without_room_declines() -> None:
    """Once: others are woken in its place.

    Break: what it was woken for waits until somebody looks by himself.
    """
    hands = Hands(room=0)
    claiming = claiming_with(hands)
    assert claiming.wish() is None
    claiming.stir()
    assert 0 == wished(claiming).count
    assert claiming.wish() is None


async def test_who_retires_declines() -> None:
    """Once, and claims nothing more, whatever is heard."""
    claiming = claiming_with(Hands(), trusted=lambda: False)
    claiming.retire()
    assert 0 == wished(claiming).count
    assert claiming.wish() is None


async def test_what_is_handed_over_begins_under_trust_only() -> None:
    """As what is claimed."""
    hands, trusted = Hands(), [True]
    claiming = claiming_with(hands, trusted=lambda: trusted[0])
    (run,) = runs("a")
    assert claiming.begin(run, 5)
    trusted[0] = False
    assert not claiming.begin(run, 5)
    assert ["a"] == hands.accepted


async def test_what_is_handed_over_begins_before_more_is_asked_for() -> None:
    """The wish comes a step later, and in any case: an outcome that is there by then goes along with it.

    Break: asking at once puts a request in front of each run that is picked up.
    """
    pokes: list[float] = []
    claiming = claiming_with(Hands(), poke=lambda: pokes.append(current_time()))

    async with create_task_group() as group:
        await group.start(claiming.run)
        claiming.receive(wished(claiming), WorkReply(now_ms=0))
        await anyio.wait_all_tasks_blocked()
        pokes.clear()
        claiming.stir_soon()
        assert [] == pokes
        await anyio.wait_all_tasks_blocked()
        assert 1 == len(pokes)
        assert claiming.wish() is not None
        group.cancel_scope.cancel()


async def test_what_is_handed_over_to_who_retires_makes_it_decline() -> None:
    """At once: nobody keeps time any more."""
    pokes: list[float] = []
    claiming = claiming_with(Hands(), poke=lambda: pokes.append(current_time()))
    claiming.retire()
    assert 0 == wished(claiming).count
    claiming.stir_soon()
    assert 2 == len(pokes)
    assert 0 == wished(claiming).count
