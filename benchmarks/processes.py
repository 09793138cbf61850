"""What Linux tells of a process and its descendants: CPU time and memory."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError)
TICKS = os.sysconf("SC_CLK_TCK")


def family(leader: int) -> Iterator[int]:
    """The processes of the session that the process leads: it, and all that descend from it."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(*GONE, ValueError):
            pid = int(folder.name)

            if pid == leader or os.getsid(pid) == leader:
                yield pid


def cpu_seconds(pid: int) -> float:
    """Spent so far by the family: to the nanosecond where the kernel keeps it, else in ticks."""
    return sum(map(cpu_seconds_of_one, family(pid)))


def cpu_seconds_of_one(pid: int) -> float:
    total = 0.0

    with contextlib.suppress(*GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
            except (*GONE, IndexError):
                return ticks(pid)

    return total


def ticks(pid: int) -> float:
    with contextlib.suppress(*GONE):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    return 0.0


def resident_bytes(pid: int) -> int:
    """Memory of the family that is in RAM, what it shares counted each time."""
    total = 0

    for member in family(pid):
        with contextlib.suppress(*GONE):
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    return total


def own_bytes(pid: int) -> int:
    """The part of that which no other process shares: what one more of its kind takes."""
    total = 0

    for member in family(pid):
        with contextlib.suppress(*GONE):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Private_"):
                    total += int(line.split()[1]) * 1024

    return total


def describe_machine() -> dict[str, str | int]:
    """What figures depend on, beside the code."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        return {
            "cpu": models[0] if models else platform.processor() or platform.machine(),
            "cores": os.cpu_count() or 0,
            "memory": f"{memory:.0f} GiB",
            "kernel": f"{platform.system()} {platform.release()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
        }

    return {"cpu": platform.machine(), "cores": os.cpu_count() or 0, "python": platform.python_version()}
