"""A crontab as people write them, over whole minutes, on two nodes of which one dies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

MINUTES = 4


def crontab(folder: Path) -> str:
    """Thirty lines: each appends its number and the minute it ran in to a file."""
    note = f"echo {{}} $(date -u +\\%H:\\%M) >> {folder / 'ran'}"
    rules = ["* * * * *"] * 14 + ["*/2 * * * *"] * 6 + ["1-59/2 * * * *"] * 4 + ["@every 1m"] * 2 + ["0 0 1 1 *"] * 4
    lines = ["# thirty lines", "SHELL=/bin/sh", "CRON_TZ=Europe/Berlin", ""]
    return "\n".join([*lines, *(f"{rule} {note.format(number)}" for number, rule in enumerate(rules))]) + "\n"


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_each_line_runs_once_at_each_of_its_minutes(redis_url: str, tmp_path: Path) -> None:
    """Two nodes, one killed half-way: nothing is missed and nothing is done twice.

    Fails if a fire's run id were not made from the entry and the fire time.
    """
    file = tmp_path / "crontab"
    file.write_text(crontab(tmp_path))
    command = [sys.executable, "-m", "anysched", "run", "--crontab", str(file), "--backend", redis_url]
    environ = {**os.environ, "ANYSCHED_LEASE": "2s"}
    time.sleep((70 - datetime.now(UTC).second) % 60)
    nodes = [subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) for _ in range(2)]

    try:
        begun = datetime.now(UTC)
        time.sleep(30 * MINUTES)
        nodes[0].kill()
        time.sleep(30 * MINUTES)
        nodes[1].terminate()
        assert nodes[1].wait(40) == 0
    finally:
        for node in nodes:
            node.kill()
            node.wait()

    # From the second in which they began, ten past the minute: so many whole minutes have begun since.
    minutes = [f"{begun + timedelta(minutes=n):%H:%M}" for n in range(1, MINUTES + 1)]
    ran = Counter(tuple(line.split()) for line in (tmp_path / "ran").read_text().splitlines())
    expected = {(str(n), minute) for n in range(14) for minute in minutes}
    expected |= {(str(n), minute) for n in range(14, 20) for minute in minutes if int(minute[3:]) % 2 == 0}
    expected |= {(str(n), minute) for n in range(20, 24) for minute in minutes if int(minute[3:]) % 2 == 1}

    assert expected == {run for run in ran if int(run[0]) < 24}
    assert {1} == set(ran.values())
    # The period counts from when it was added, and may have begun in the same minute as the nodes.
    assert all(MINUTES - 1 <= sum(1 for run in ran if run[0] == str(n)) <= MINUTES + 1 for n in (24, 25))
