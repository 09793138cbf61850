"""What a server says of itself, and what in that deserves a warning."""

from __future__ import annotations

from anysched.backends.records import ServerReport
from anysched.errors import ServerTooOld

__all__ = ["OLDEST", "check_version", "make_report", "parse_info"]

OLDEST = (6, 2)
"""SMISMEMBER, ZRANGE's forms, and ZPOPMIN with a count came by then, and so did effects replication of scripts."""

Info = dict[str, str]

_SKEW_MS = 1_000


def parse_info(reply: bytes) -> Info:
    """The lines of INFO."""
    lines = reply.decode("utf-8", "replace").splitlines()
    return {name: value for name, found, value in (line.partition(":") for line in lines) if found and name[0] != "#"}


def check_version(info: Info) -> None:
    """Refuse a server that lacks what the scripts need.

    Raises:
        ServerTooOld: it does.
    """
    version = info.get("redis_version", "0")

    if _numbers(version) < OLDEST:
        raise ServerTooOld(version, ".".join(map(str, OLDEST)))


def make_report(info: Info, *, address: str, time_ms: int, our_time_ms: int, round_trip_ms: float) -> ServerReport:
    """The report, with its warnings.

    Args:
        info: what INFO said, all sections.
        address: without credentials.
        time_ms: the server's clock.
        our_time_ms: ours, at the same moment as far as that can be known.
        round_trip_ms: of one command.
    """
    is_valkey = info.get("server_name") == "valkey"
    warnings: list[str] = []
    policy = info.get("maxmemory_policy", "unknown")
    skew_ms = time_ms - our_time_ms

    if policy != "noeviction":
        warnings.append(f"maxmemory-policy is {policy}: under pressure runs would be lost; set it to noeviction")

    if info.get("aof_enabled") != "1":
        warnings.append("appendonly is off: a crash of the server loses all since its last snapshot")

    if info.get("role", "master") != "master":
        warnings.append("this server is a replica: it does not take writes")

    if abs(skew_ms) > _SKEW_MS + round_trip_ms:
        warnings.append(f"the server's clock is {skew_ms / 1000:+.1f} s off ours; schedules go by the server's")

    if info.get("rdb_last_bgsave_status", "ok") != "ok" or info.get("aof_last_write_status", "ok") != "ok":
        warnings.append("the server's last attempt to write to its disk failed: it may refuse writes")

    return ServerReport(
        product="valkey" if is_valkey else "redis",
        version=info.get("valkey_version" if is_valkey else "redis_version", "unknown"),
        address=address,
        time_ms=time_ms,
        round_trip_ms=round_trip_ms,
        warnings=tuple(warnings),
        facts=_facts(info, policy, skew_ms),
    )


def _facts(info: Info, policy: str, skew_ms: int) -> dict[str, str]:
    return {
        "mode": info.get("redis_mode", "unknown"),
        "role": info.get("role", "unknown"),
        "memory used": info.get("used_memory_human", "unknown"),
        "memory limit": info.get("maxmemory_human", "unknown"),
        "eviction policy": policy,
        "append-only file": "on" if info.get("aof_enabled") == "1" else "off",
        "last snapshot": info.get("rdb_last_bgsave_status", "unknown"),
        "clients": info.get("connected_clients", "unknown"),
        "clock ahead of ours": f"{skew_ms} ms",
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
