"""What all machines share: names, commands that are given to both backends, time, and a wire that sends things twice.

Few names are used for everything, so that commands meet. What a command refers to is drawn as a small number that
counts back from the newest, so that a shrunk history speaks of the newest of few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from anysched.backends import Backend, ClaimedRun, WorkReply

from .twins import COMMAND_MICROS, Ground, Twins

__all__ = ["INBOXES", "REMEMBERED_MS", "Machine", "Sent", "a_number", "some_ms", "there_are"]

INBOXES = ("me", "you")

REMEMBERED_MS = 9_900
"""For so long every backend knows a command again."""

a_number = st.integers(0, 12)
some_ms = st.sampled_from((1, 20, 600, 3_000, 11_000))


def there_are(what: str) -> Callable[[Any], Any]:
    """That the machine has some of these."""
    return precondition(lambda machine: bool(getattr(machine, what)))


@frozen
class Sent:
    """A command that was sent, and when."""

    name: str
    call: Callable[[Backend], Any]
    at_ms: int
    node: str = ""
    number: int = 0
    """Of the claim, if it is one."""


class Machine(RuleBasedStateMachine):
    """Somebody who does anything to both."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.twins = Twins(self.ground)
        self.made = 0
        self.sent: list[Sent] = []
        self.claims: list[tuple[str, ClaimedRun]] = []
        """What nodes have got lately."""
        self.answered: set[tuple[Any, int]] = set()
        """The nodes and numbers of claims that were answered once."""
        self.newest_token = 0

    @property
    def state(self) -> Any:
        """What is in memory, to choose from."""
        return self.twins.state

    def fresh(self, prefix: str) -> str:
        """A name that was not used yet."""
        self.made += 1
        return f"{prefix}{self.made}"

    def do(self, name: str, call: Callable[[Backend], Any], node: str = "", number: int = 0) -> Any:
        """Give both a command."""
        before = self.twins.shown
        answer = self.twins.do(call)
        self.sent = [*self.sent[-3:], Sent(name, call, self.twins.now, node, number)]
        self.look_back(name, before)
        return answer

    def look_back(self, name: str, before: Any) -> None:
        """See what a command has changed."""

    def note_token(self, token: int) -> None:
        """A new token is greater than all before."""
        assert token > self.newest_token
        self.newest_token = token

    def take(self, node: str, number: int, reply: WorkReply) -> bool:
        """Note what a claim has given; whether it was new. One that was answered once gives nothing more."""
        was_answered = (self.state.nodes.get(node), number) in self.answered

        for run in reply.runs:
            if was_answered:
                assert run.token <= self.newest_token
            else:
                self.note_token(run.token)

            self.claims = [*self.claims[-12:], (node, run)]

        if number and reply.known:
            self.answered.add((self.state.nodes[node], number))

        return not was_answered

    @rule(micros=st.sampled_from((700, 700, 20_000, 20_000, 600_000, 600_000, 3_000_000, 11_000_000, 3_600_000_000)))
    def pass_time(self, micros: int) -> None:
        self.twins.pass_time(micros)

    @rule(number=st.integers(0, 5), off=st.sampled_from((-1_000, -100, 0, 900)))
    def pass_time_until_something(self, number: int, off: int) -> None:
        """To the instant at which something is due, expires, ends or is forgotten, or to just before or after it."""
        state = self.state
        orders = (state.due, state.leases, state.expiries, state.cursors, state.fading)
        firsts = [found[0] for order in orders for found in [order.first()] if found is not None]
        places = [place.until_ms for lock in state.locks.values() for place in lock.line.values()]
        locks = [lock.expires_ms for lock in state.locks.values() if lock.owner]
        instants = sorted(one for one in {*firsts, *places, *locks} if one > self.twins.now)

        if instants:
            # The command itself takes its time.
            wanted = instants[number % len(instants)] * 1000 + off - COMMAND_MICROS
            self.twins.pass_time(max(wanted - self.twins.micros, 0))

    @there_are("sent")
    @rule(number=st.sampled_from((0, 0, 0, 1, 2)))
    def send_again(self, number: int) -> None:
        """One of the last commands, as a client does whose reply was lost."""
        sent = self.sent[-1 - number % len(self.sent)]
        lost = sent.name == "join" and sent.node not in self.state.nodes

        if not lost and self.twins.now - sent.at_ms < REMEMBERED_MS:
            answer = self.twins.do(sent.call)

            if isinstance(answer, WorkReply):
                self.take(sent.node, sent.number, answer)

    @there_are("sent")
    @rule()
    def send_the_last_again(self) -> None:
        self.send_again(0)
