"""What the model has found, each as a short history of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from anysched.backends import Backend, Claim, NewRun, NodeInfo

from .twins import Twins, ground


@pytest.fixture
def twins(redis_url: str) -> Iterator[Twins]:
    with ground(redis_url) as found:
        yield Twins(found)


def test_an_id_that_is_used_anew_is_listed_once(twins: Twins) -> None:
    """A run was cancelled and forgotten, its id used again, and that run cancelled too: it stood in the list twice."""
    twins.run_ids["r"] = None

    for _ in range(2):
        twins.do(partial(_enqueue, "r"))
        twins.do(partial(_cancel, "r"))
        twins.compare_listings(None, 50)
        twins.compare_listings(None, 1)
        twins.pass_time(11_000_000)


def test_a_small_page_of_running_runs_passes_none_over(twins: Twins) -> None:
    """One node had a run of another queue, and below it one that was asked for: it was missing."""
    twins.run_ids.update(dict.fromkeys("abc"))

    for node, run_id, queue in (("two", "a", "default"), ("one", "b", "default"), ("one", "c", "other")):
        twins.do(partial(_hold, node, run_id, queue))

    for limit in (1, 2, 50):
        twins.compare_listings("default", limit)


async def _hold(node: str, run_id: str, queue: str, backend: Backend) -> Any:
    await backend.join(NodeInfo(id=node, ttl_ms=60_000, jobs=("job",), queues=(queue,), program=""))
    await backend.enqueue([NewRun(id=run_id, job="job", queue=queue)])
    return await backend.work(node, (), Claim(number=ord(run_id), count=1, queues=(queue,)))


async def _enqueue(run_id: str, backend: Backend) -> Any:
    return await backend.enqueue([NewRun(id=run_id, job="job", ttl_ms=1)])


async def _cancel(run_id: str, backend: Backend) -> Any:
    return await backend.cancel(run_id)
