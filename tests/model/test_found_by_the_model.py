"""What the model has found, each as a short history of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from anysched.backends import Backend, NewRun

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


async def _enqueue(run_id: str, backend: Backend) -> Any:
    return await backend.enqueue([NewRun(id=run_id, job="job", ttl_ms=1)])


async def _cancel(run_id: str, backend: Backend) -> Any:
    return await backend.cancel(run_id)
