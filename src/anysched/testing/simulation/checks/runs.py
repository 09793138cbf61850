"""The life of each run, as the commands that took effect tell it, held against what may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from anysched.backends import Claim, ClaimedRun, NewRun, Outcome, RunRecord
from anysched.options import decode_options
from anysched.retry import RetryPolicy
from anysched.run import FINAL

from ..history import Answered, Command, HandedOver, Happened, History
from .leases import LeaseModel, when

__all__ = ["check_runs"]

_REMEMBERED = 10_000_000
"""Microseconds for which a repeated settlement is known."""

_FINAL_KINDS = ("succeeded", "failed", "cancelled")


@define(eq=False)
class _Life:
    """What is known of one run."""

    id: str
    job: str = ""
    retry: RetryPolicy | None = None
    token: int = 0
    node: str = ""
    """Who holds it."""
    final: str = ""
    retries: int = 0
    asked_to_cancel: bool = False
    settled: dict[int, int] = field(factory=dict[int, int], init=False)
    """When, by token."""
    claims: dict[int, str] = field(factory=dict[int, str], init=False)
    """Nodes by token."""
    returned: set[int] = field(factory=set[int], init=False)
    """Tokens under which it was handed back by a node that left."""
    result: str = ""


def check_runs(history: History, retries: Mapping[str, RetryPolicy]) -> Iterator[str]:
    """What went wrong with runs.

    Args:
        history: what happened.
        retries: the policies of the jobs.
    """
    lives = _Lives(retries)

    for record in history.records:
        match record:
            case Command():
                lives.take(record)
                lives.leases.take(record)
            case HandedOver():
                lives.claimed(record.run, record.node_id, record.at, {})
            case Answered(name="enqueue"):
                lives.accepted |= dict.fromkeys(answer.id for answer in record.answer)
            case Happened(what="stopping"):
                lives.calm[record.machine] = record.detail["calm"]
            case Happened(what="ended"):
                lives.end(record)
            case Happened(what="at first" | "quiet"):
                lives.count(record)
            case _:
                pass

    yield from lives.found

    for note in history.happened("final run"):
        run_id, final = note.detail
        yield from lives.check_final(run_id, final)


@define(eq=False)
class _Lives:
    retries: Mapping[str, RetryPolicy]
    leases: LeaseModel = field(factory=LeaseModel, init=False)
    runs: dict[str, _Life] = field(factory=dict[str, _Life], init=False)
    accepted: dict[str, None] = field(factory=dict[str, None], init=False)
    calm: dict[str, bool] = field(factory=dict[str, bool], init=False)
    found: list[str] = field(factory=list[str], init=False)
    newest_token: int = field(default=0, init=False)
    succeeded_before: int = field(default=0, init=False)
    owners: dict[str, int] = field(factory=dict[str, int], init=False)
    """Tokens of locks."""

    def complain(self, about: str, at: int) -> None:
        self.found.append(f"{about}, at {when(at)}")

    def life(self, run_id: str) -> _Life:
        if run_id not in self.runs:
            self.runs[run_id] = _Life(run_id)

        return self.runs[run_id]

    def take(self, command: Command) -> None:
        arguments, answer = command.arguments, command.answer

        match command.name:
            case "enqueue":
                self._enqueued(arguments["runs"], answer, command.at)
            case "tick":
                self._describe([run for fire in arguments["fires"] for run in fire.runs])
            case "trigger":
                self._describe([arguments["run"]])
            case "work":
                self._worked(command)
            case "cancel" if answer is not None:
                self._cancelled(self.life(arguments["run_id"]), answer, command.at)
            case "revive" if answer == "failed":
                self._revived(self.life(arguments["run_id"]))
            case "leave":
                self._left(arguments["node_id"], command.at)
            case "acquire_lock":
                self._locked(arguments["owner"], command.answer.token, command.at)
            case _:
                pass

    # --- made and asked about ----------------------------------------------------------------------------------

    def _enqueued(self, runs: Sequence[NewRun], answers: Sequence[Any], at: int) -> None:
        self._describe(runs)

        for run, answer in zip(runs, answers, strict=True):
            if answer.created and answer.id in self.accepted:
                self.complain(f"run {run.id} was made twice", at)

    def _describe(self, runs: Sequence[NewRun]) -> None:
        for run in runs:
            life = self.life(run.id)
            life.job = run.job
            life.retry = decode_options(run.options, run.job).retry or self.retries.get(run.job)

    def _cancelled(self, life: _Life, answer: Any, at: int) -> None:
        if answer.status == "cancelled":
            if life.final not in ("", "cancelled"):
                self.complain(f"run {life.id} was {life.final} and is said to be cancelled", at)

            life.final = "cancelled"
        elif answer.requested:
            life.asked_to_cancel = True

    def _revived(self, life: _Life) -> None:
        life.final, life.retries, life.asked_to_cancel, life.node = "", 0, False, ""

    def _left(self, node_id: str, at: int) -> None:
        # If its lease had run out, others may have taken them from it before.
        is_known = self.leases.stands(node_id, at)

        for life in self.runs.values():
            if life.node == node_id:
                life.node = ""

                if is_known:
                    life.returned.add(life.token)

    def _locked(self, owner: str, token: int, at: int) -> None:
        if token and self.owners.get(owner) != token:
            self.owners[owner] = token
            self._token(token, "a lock", at)

    def _token(self, token: int, whose: str, at: int) -> None:
        if token <= self.newest_token:
            self.complain(f"{whose} got the token {token}, and {self.newest_token} was given before", at)

        self.newest_token = max(token, self.newest_token)

    # --- settled -----------------------------------------------------------------------------------------------

    def _worked(self, command: Command) -> None:
        arguments, reply = command.arguments, command.answer

        for outcome, settled in zip(arguments["outcomes"], reply.settled, strict=True):
            self._settled(self.life(outcome.run_id), outcome, settled, command.at)

        claim: Claim | None = arguments["claim"]
        limits = claim.limits if claim is not None else dict[str, int]()

        for run in reply.runs:
            self.claimed(run, arguments["node_id"], command.at, limits)

    def _settled(self, life: _Life, outcome: Outcome, answer: bool, at: int) -> None:
        token = outcome.token
        about = f"run {life.id}, token {token}: {outcome.kind}"

        if not answer:
            if token in life.settled and at - life.settled[token] < _REMEMBERED:
                self.complain(f"{about} was settled, and then it was not", at)
            elif token == life.token and not life.final and self.leases.stands(life.node, at):
                self.complain(f"{about} was refused though its holder has a lease", at)

            return

        if token in life.settled:
            return

        if token != life.token or token not in life.claims:
            self.complain(f"{about} was accepted, and the newest token is {life.token}", at)
        elif life.final:
            self.complain(f"{about} was accepted after the run was {life.final}", at)
        elif not life.node:
            self.complain(f"{about} was accepted from a node that does not hold it", at)

        life.settled[token] = at
        self._apply(life, outcome)

    def _apply(self, life: _Life, outcome: Outcome) -> None:
        life.node = ""

        if outcome.kind in _FINAL_KINDS:
            life.final, life.result = outcome.kind, outcome.result
        elif life.asked_to_cancel:
            life.final = "cancelled"
        elif outcome.kind == "retry":
            life.retries += 1

    # --- claimed -----------------------------------------------------------------------------------------------

    def claimed(self, run: ClaimedRun, node_id: str, at: int, limits: Mapping[str, int]) -> None:
        """A node was given a run."""
        life, about = self.life(run.id), f"run {run.id}"

        if run.token in life.claims:
            if life.claims[run.token] != node_id:
                self.complain(f"{about} was given under one token to two nodes", at)

            return

        self._token(run.token, about, at)

        if life.final:
            self.complain(f"{about} was claimed, and had been {life.final}", at)

        if life.asked_to_cancel:
            self.complain(f"{about} was claimed, though somebody had cancelled it", at)

        if life.node and self.leases.stands(life.node, at):
            self.complain(f"{about} was taken from {life.node}, whose lease stands", at)

        if run.attempt != life.retries + 1:
            self.complain(f"{about} begins attempt {run.attempt} after {life.retries} that count", at)

        if life.retry is not None and life.retry.max_retries is not None and life.retries > life.retry.max_retries:
            self.complain(f"{about} is retried {life.retries} times", at)

        life.job, life.token, life.node = run.job, run.token, node_id
        life.claims[run.token] = node_id
        self._check_limit(run.job, limits, at)

    def _check_limit(self, job: str, limits: Mapping[str, int], at: int) -> None:
        if job in limits:
            held = [one for one in self.runs.values() if one.job == job and self.leases.stands(one.node, at)]

            if len(held) > limits[job]:
                self.complain(f"{len(held)} runs of {job} are held, and {limits[job]} are allowed", at)

    # --- ended -------------------------------------------------------------------------------------------------

    def end(self, note: Happened) -> None:
        """A machine was stopped: if nothing was the matter, it left nothing behind."""
        if not self.calm.get(note.machine):
            return

        ids = {node_id for node_id, machine in self.leases.machines.items() if machine == note.machine}

        for life in self.runs.values():
            if life.node in ids and not life.final and self.leases.stands(life.node, note.at):
                self.complain(f"{note.machine} has stopped in good order and still holds run {life.id}", note.at)

        for node_id in ids:
            if self.leases.stands(node_id, note.at):
                self.complain(f"{note.machine} has stopped in good order and did not leave", note.at)

    def count(self, note: Happened) -> None:
        """Each success is counted once, however often it was told."""
        total = note.detail.succeeded - self.succeeded_before
        known = sum(life.final == "succeeded" for life in self.runs.values())

        if note.what == "at first":
            self.succeeded_before = total
        elif total != known:
            self.complain(f"{known} runs have succeeded, and the totals count {total}", note.at)

    def check_final(self, run_id: str, record: Any) -> Iterator[str]:
        """Hold the record that is there at the end against the run's life."""
        life = self.life(run_id)

        if not isinstance(record, RunRecord):
            if record is not None or run_id in self.accepted or life.claims:
                yield f"run {run_id} is lost: {record}"

            return

        if record.status not in FINAL:
            yield f"run {run_id} ({life.job}) has not ended: it is {record.status}"
        elif life.final and life.final != record.status:
            yield f"run {run_id} was settled as {life.final}, and is {record.status}"
        elif not life.final and record.status == "succeeded":
            yield f"run {run_id} has succeeded, and nobody said so"

        if record.status == "succeeded" and life.result != record.result:
            yield f"run {run_id} has the result {record.result}, not the one that was settled, {life.result}"

        lost = [token for token in life.claims if token not in life.settled and token not in life.returned]

        if record.crashes > len(lost):
            yield f"run {run_id} counts {record.crashes} crashes, and there were {len(lost)}"
