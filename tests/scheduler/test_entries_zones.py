"""Which time zone a cron expression is in: only text takes the scheduler's."""

from __future__ import annotations

from datetime import UTC, datetime

from anysched import Blueprint, Cron, Scheduler, SchedulerConfig, parse_schedule


async def test_only_text_takes_the_zone_of_the_scheduler() -> None:
    """Declared, in a blueprint, or added: a `Cron` by itself is in UTC wherever it is handed over.

    Break: the decorators move a `Cron` that names no zone, and the same object given to `add` stays.
    """
    scheduler = Scheduler(config=SchedulerConfig(timezone="Asia/Tokyo"))
    blueprint = Blueprint("part")
    rule = Cron("0 8 * * *")

    @scheduler.job
    async def work() -> None: ...

    @blueprint.cron("0 8 * * *", id="text-blueprint")
    @blueprint.cron(rule, id="rule-blueprint")
    async def part() -> None: ...

    scheduler.cron("0 8 * * *", id="text")(work)
    scheduler.cron("CRON_TZ=UTC 0 8 * * *", id="text-utc")(work)
    scheduler.cron(rule, id="rule")(work)
    scheduler.include(blueprint)

    async with scheduler.running():
        await scheduler.add("0 8 * * *", work.bind(), id="added-text")
        await scheduler.add(rule, work.bind(), id="added-rule")
        await scheduler.add(parse_schedule("0 8 * * *"), work.bind(), id="added-text-parsed")
        hours = {
            entry.id: entry.next_run_at.astimezone(UTC).hour
            for entry in await scheduler.entries()
            if entry.next_run_at is not None
        }

    assert {
        "text-blueprint": 23,
        "rule-blueprint": 8,
        "text": 23,
        "text-utc": 8,
        "rule": 8,
        "added-text": 23,
        "added-rule": 8,
        "added-text-parsed": 8,
    } == hours
    assert datetime(2026, 1, 1, 8, tzinfo=UTC) == rule.next_after(datetime(2026, 1, 1, tzinfo=UTC))
