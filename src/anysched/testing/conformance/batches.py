"""Batches of runs that differ in some things, not in others: a backend may send what they share once, no more."""

from __future__ import annotations

from msgspec.structs import replace

from anysched.backends import Enqueued, NewRun

from .stage import LATER, Stage, Staged

__all__ = ["BatchConformance"]

FAR = 2_000_000_000_000

KINDS = [
    replace(kind, job=job)
    for kind in (
        NewRun(id="", job=""),
        NewRun(id="", job="", options='{"timeout_ms":5}'),
        NewRun(id="", job="", options='{"timeout_ms":6}'),
        NewRun(id="", job="", queue="mail", priority=7),
        NewRun(id="", job="", at_ms=FAR, deadline_ms=FAR + LATER),
        NewRun(id="", job="", entry_id="nightly", scheduled_for_ms=FAR),
    )
    for job in ("send", "count")
]

PAYLOADS = ('["first"]', "", '["é\\n \x00"]')


def draft(kind: int, payload: int, *, name: str, **fields: str) -> NewRun:
    """A run of this kind with this payload, which says whose it is."""
    run_id = f"{name} {kind} {payload}"
    text = PAYLOADS[payload]
    return replace(KINDS[kind], id=run_id, payload=text and f"{run_id}: {text}", **fields)


class BatchConformance(Staged):
    """``enqueue`` of many at once."""

    async def test_each_of_a_batch_is_stored_as_it_was_given(self, stage: Stage) -> None:
        """Its payload is its own, and so is all the rest, whatever those before and after it look like.

        Breaks: the payload of the first of those that are alike stands for all of them, or the options of the run
        before for those that follow.
        """
        kinds, payloads = range(len(KINDS)), range(len(PAYLOADS))
        alike = [draft(kind, payload, name="alike") for kind in kinds for payload in payloads]
        mixed = [draft(kind, payload, name="mixed") for payload in payloads for kind in kinds]
        keyed = [draft(0, 0, name=f"keyed {key}", key=key) for key in ("a", "b")]
        batch = [*alike, *keyed, *mixed]
        answers = await stage.backend.enqueue(batch)

        assert [Enqueued(new.id, created=True) for new in batch] == answers

        for new in batch:
            record = await stage.run(new.id)
            assert (new.id, new.payload, new.job, new.options) == (
                record.id,
                record.payload,
                record.job,
                record.options,
            )
            assert (new.queue, new.priority, new.key, new.entry_id, new.scheduled_for_ms) == (
                record.queue,
                record.priority,
                record.key,
                record.entry_id,
                record.scheduled_for_ms,
            )
            status = "scheduled" if new.at_ms else "ready"
            assert (status, new.at_ms, new.deadline_ms) == (record.status, record.due_ms, record.deadline_ms)

    async def test_each_of_a_batch_is_handed_out_as_it_was_given(self, stage: Stage) -> None:
        """Whoever claims them gets for each run its own payload, job and options."""
        await stage.join(jobs=("send", "count"))
        kinds, payloads = range(6), range(len(PAYLOADS))
        batch = [draft(kind, payload, name="r") for kind in kinds for payload in payloads]
        await stage.backend.enqueue(batch)
        claimed = await stage.claim(count=len(batch))

        assert [(new.id, new.job, new.payload, new.options) for new in batch] == [
            (run.id, run.job, run.payload, run.options) for run in claimed
        ]
