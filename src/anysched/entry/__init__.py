"""Entries: jobs put on a schedule. How one is described and stored, what is due, and what people see of it."""

from __future__ import annotations

from anysched.entry.planning import FirePlan, first_fire, first_or_missed, plan_fire, plan_surrender
from anysched.entry.policy import EntryPolicy, Misfire, Overlap
from anysched.entry.spec import EntrySpec, check_schedule
from anysched.entry.view import Entry, EntryRun, EntryStatus

__all__ = [
    "Entry",
    "EntryPolicy",
    "EntryRun",
    "EntrySpec",
    "EntryStatus",
    "FirePlan",
    "Misfire",
    "Overlap",
    "check_schedule",
    "first_fire",
    "first_or_missed",
    "plan_fire",
    "plan_surrender",
]
