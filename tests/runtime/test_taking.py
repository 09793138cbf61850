"""What a node does with a run that comes with a hint."""

from __future__ import annotations

from attrs import define, field

from anysched.backends import ClaimedRun, Hint, Outcome
from anysched.runtime.taking import Taking


@define(eq=False)
class Node:
    """What knows and begins runs, and hands them back."""

    id: str = "node"
    begins: bool = True
    known: set[tuple[str, int]] = field(factory=set[tuple[str, int]])
    begun: list[int] = field(factory=list[int])
    handed_back: list[int] = field(factory=list[int])

    def begin(self, run: ClaimedRun, claimed_ms: int) -> bool:
        if self.begins:
            self.known.add((run.id, run.token))
            self.begun.append(run.token)

        return self.begins

    def taking(self) -> Taking:
        return Taking(
            node_id=lambda: self.id,
            is_known=self.known.__contains__,
            begin=self.begin,
            hand_back=lambda outcome: self.handed_back.append(outcome.token),
        )


def hint(token: int, *, run_id: str = "run", node: str = "node") -> Hint:
    return Hint("take", node, ClaimedRun(id=run_id, job="job", token=token, attempt=1), 5)


def test_what_comes_is_begun() -> None:
    """Each in its turn."""
    node = Node()
    taking = node.taking()

    for token in (5, 7):
        taking.take(hint(token))

    assert ([5, 7], []) == (node.begun, node.handed_back)


def test_what_comes_again_is_begun_once() -> None:
    """While it is carried out nothing is done about it; when it is not known any more it is over, and stays so.

    Breaks: without a look at what is known it is handed back while it is carried out; without the token it is carried
    out again.
    """
    node = Node()
    taking = node.taking()
    taking.take(hint(5))
    taking.take(hint(5))
    assert ([5], []) == (node.begun, node.handed_back)

    node.known.clear()
    taking.take(hint(5))
    assert ([5], [5]) == (node.begun, node.handed_back)


def test_what_was_overtaken_is_handed_back() -> None:
    """Whether it is new or comes again cannot be told; handing back is right for both."""
    node = Node()
    taking = node.taking()
    taking.take(hint(9, run_id="b"))
    taking.take(hint(8, run_id="a"))
    assert ([9], [8]) == (node.begun, node.handed_back)


def test_what_was_disowned_is_not_begun() -> None:
    """Its hint was so late that the run went to somebody else meanwhile, or may."""
    node = Node()
    taking = node.taking()
    taking.disown(Outcome(run_id="run", token=6, kind="released"))
    taking.take(hint(6))
    taking.take(hint(7, run_id="next"))
    assert ([7], [6]) == (node.begun, node.handed_back)


def test_what_cannot_begin_is_handed_back() -> None:
    """On a node that is stopping, say."""
    node = Node(begins=False)
    node.taking().take(hint(5))
    assert ([], [5]) == (node.begun, node.handed_back)


def test_what_was_for_an_earlier_life_is_left_alone() -> None:
    """It went to others when the lease under that id was lost. A hint without a run is nothing."""
    node = Node(id="new")
    node.taking().take(hint(5, node="node"))
    node.taking().take(Hint("take", "new"))
    assert ([], []) == (node.begun, node.handed_back)
