"""The conformance suite: what :class:`~anysched.backends.Backend` promises, as tests for any backend.

Bind it to a backend of your own in a test module, under pytest with AnyIO's plugin::

    import pytest

    pytest.register_assert_rewrite("anysched.testing.conformance")

    from anysched.testing.conformance import BackendConformance


    class TestMyBackend(BackendConformance):
        @pytest.fixture
        async def backend(self, anyio_backend):
            async with open_my_backend() as backend:  # fresh: nothing stored; open: its `run` is going
                yield backend

        @pytest.fixture
        def advance(self):
            return lambda ms: anyio.sleep(ms / 1000)  # or move the clock that the backend goes by

Time is asked for by ``await advance(ms)`` only, and seldom more than 50 ms of it, so that a real server may be tested
in real time: that takes some 20 s, half of it for the one test that waits until final records go away.
"""

from __future__ import annotations

from .batches import BatchConformance
from .enqueueing import EnqueueConformance
from .entries import EntryConformance
from .firing import FireConformance
from .handing import DecliningConformance, HandingConformance
from .leasing import LeaseConformance
from .listing import ListConformance
from .locks import LockConformance
from .repetition import RepetitionConformance
from .setting_aside import AsideConformance
from .transitions import TransitionConformance
from .waking import HintConformance
from .working import WorkConformance

__all__ = [
    "AsideConformance",
    "BackendConformance",
    "BatchConformance",
    "DecliningConformance",
    "EnqueueConformance",
    "EntryConformance",
    "FireConformance",
    "HandingConformance",
    "HintConformance",
    "LeaseConformance",
    "ListConformance",
    "LockConformance",
    "RepetitionConformance",
    "TransitionConformance",
    "WorkConformance",
]


class BackendConformance(
    EnqueueConformance,
    BatchConformance,
    HandingConformance,
    DecliningConformance,
    WorkConformance,
    LeaseConformance,
    AsideConformance,
    HintConformance,
    TransitionConformance,
    ListConformance,
    EntryConformance,
    FireConformance,
    LockConformance,
    RepetitionConformance,
):
    """The whole suite. Its parts can be bound one by one as well."""
