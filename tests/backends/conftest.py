"""What of the conformance suite takes long, in real time, is left to the nightly session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The ten seconds that a record is kept, which the model's clock lets pass by day; all twice with eager tasks."""
    here = Path(__file__).parent

    for item in items:
        if not item.path.is_relative_to(here):
            continue

        waits = "TestRedisBackend" in item.nodeid and "test_final_records_go_away" in item.nodeid
        is_twice = "WithEveryCommandTwice" in item.nodeid

        if waits or (is_twice and "asyncio+eager" in item.nodeid):
            item.add_marker(pytest.mark.nightly)
