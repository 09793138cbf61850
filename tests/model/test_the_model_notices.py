"""The model is seen to fail: each test here breaks the product in one place, in Lua or in memory, and is noticed.

The break of a test is named by its id. A break that is not found any more in the product's text fails as `WrongEdit`:
then it has to follow the product.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase, settings

from anysched.backends.memory import aside, firing, locks, moves, nodes, working

from .clockwork import Edit, WrongEdit
from .firing import EntryMachine
from .locking import LockMachine
from .machine import Machine
from .running import RunMachine
from .test_model import SAME_EACH_TIME, play

SEARCH = settings(
    SAME_EACH_TIME,
    max_examples=300,
    # It need not be made small, only found.
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

Break = tuple[type[Machine], Edit]

IN_LUA: dict[str, Break] = {
    "the fencing check of settling is removed": (
        RunMachine,
        Edit("if run[1] ~= 'running' or tonumber(run[2]) ~= token then", "if run[1] ~= 'running' then"),
    ),
    "a sealed run stays among the running": (
        RunMachine,
        Edit("  redis.call('HDEL', (PREFIX .. 'running'), unpack(ids))\n", ""),
    ),
    "a sealed run that ends keeps its slot": (
        RunMachine,
        Edit("  redis.call('SREM', (PREFIX .. 'live:' .. (job)), unpack(ids))\n", ""),
    ),
    "a sealed run is claimed beyond a limit": (
        RunMachine,
        Edit("if job and not (limits[job] and considering.is_full(job, limits)) then", "if job then"),
    ),
    "a sealed run is given to who does not know its job": (
        RunMachine,
        Edit("job = job and claims.knows(job) and job or false", "job = job or false"),
    ),
    "the expiry of a run that is moved stays behind": (RunMachine, Edit("  move_expiry(due_ms)\n", "")),
    "the fencing check of progress is removed": (RunMachine, Edit(" or run.token ~= ARGV[2]", "")),
    "the compare in the cursor's advance is removed": (EntryMachine, Edit("\n    or entry.next_ms ~= fire[3]", "")),
    "settling is not one step, and its second half is lost": (
        RunMachine,
        Edit("  places.take_from_node(id, held_by, job)\n", ""),
    ),
    "a key outlives its run": (
        RunMachine,
        Edit("if run.key and records.text((PREFIX .. 'key:' .. (run.key))) == id", "if false"),
    ),
    "now comes from elsewhere": (
        RunMachine,
        Edit("{NOW = tonumber(NOW_TEXT),", "{NOW = NOW_TEXT + #(ARGV[1] or '') % 2,"),
    ),
    "a repeated claim claims anew": (
        RunMachine,
        Edit("return considering.claim_again(slot)", "return claim_new(claim)"),
    ),
    "a claim that comes too late claims anew": (RunMachine, Edit("elseif number < last then", "elseif false then")),
    "a repeated tick fires anew": (EntryMachine, Edit("memos.recall('tick:' .. ARGV[1])", "false")),
    "tokens do not grow with the clock": (
        LockMachine,
        Edit("math.max(last + 1, clock.NOW_US)", "last + 1"),
    ),
    "a cancelled run is retried": (RunMachine, Edit("elseif run.cancel_requested then", "elseif false then")),
    "the second in line is not called": (
        LockMachine,
        Edit("if held or (not held_by and first == owner) then", "if held then"),
    ),
    "a crash is not counted": (RunMachine, Edit("if crashed and not run.cancel_requested", "if false")),
    "what waits is passed by": (
        RunMachine,
        Edit("redis.call('EXISTS', key, ready)", "redis.call('EXISTS', key)"),
    ),
    "what is paused is handed over": (
        RunMachine,
        Edit("and redis.call('SISMEMBER', (PREFIX .. 'paused'), queue) == 0", ""),
    ),
    "what is limited is handed over": (RunMachine, Edit("and not limits[job] then", "then")),
    "what is not known is handed over": (
        RunMachine,
        Edit(
            "and redis.pcall('SISMEMBER', (PREFIX .. 'jobs:' .. (node)), job) == 1\n    and tonumber",
            "and tonumber",
        ),
    ),
    "who was handed a run is handed more": (
        RunMachine,
        Edit("redis.pcall('ZREM', (PREFIX .. 'hungry:' .. (tostring(name))), node)\n        end", "end"),
    ),
    "a token is used again": (RunMachine, Edit("redis.call('SET', (PREFIX .. 'token'), token_text)", "")),
    "who declines is woken": (RunMachine, Edit("  hints.satisfy(claims.node)\n\n  for", "  for")),
    "nobody is woken": (RunMachine, Edit("return ends >= clock.NOW and hints.send(node, 'work') > 0", "return false")),
}
"""By name: who finds it, and an edit of the scripts on their way to the server."""


DAILY = ("the compare", "now comes")
"""The rest is looked for at night."""


def each(breaks: Mapping[str, Any], daily: tuple[str, ...]) -> list[Any]:
    """A parameter for each break."""
    return [
        pytest.param(value, id=name, marks=() if name.startswith(daily) else pytest.mark.nightly)
        for name, value in breaks.items()
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)  # it looks for a history that shows it, and makes that small
@pytest.mark.parametrize("broken", each(IN_LUA, DAILY))
def test_the_model_notices_a_break_in_a_script(redis_url: str, broken: Break) -> None:
    """That Redis is no longer what memory is, or that a law is broken."""
    with pytest.raises(AssertionError):
        play(broken[0], redis_url, SEARCH, edits=(broken[1],))


Change = tuple[type[Machine], ModuleType, str, str, str]

IN_MEMORY: dict[str, Change] = {
    "the fencing check of settling is removed": (
        RunMachine,
        working,
        "_settle",
        'if run.status != "running" or run.token != outcome.token:',
        'if run.status != "running":',
    ),
    "the compare in the cursor's advance is removed": (
        EntryMachine,
        firing,
        "_fire",
        "or entry.next_ms != fire.cursor_ms",
        "",
    ),
    "settling is not one step, and its second half is lost": (
        RunMachine,
        moves,
        "_take_away",
        "holder.runs.pop(run.id, None)",
        "pass",
    ),
    "an ended run keeps its slot": (RunMachine, moves, "_take_away", "state.running_of[job] -= 1", "pass"),
    "a cancelled run is retried": (
        RunMachine,
        working,
        "_apply",
        "case _ if run.cancel_requested:",
        "case _ if False:",
    ),
    "a lease ends a millisecond early": (RunMachine, nodes, "_reap", "end < state.now", "end <= state.now"),
    "a limit is one too high": (RunMachine, working, "_take", ">= limits[job]", "> limits[job]"),
    "a run set aside loses its place": (
        RunMachine,
        aside,
        "put",
        "places[job].put(run.id, run.rank)",
        "places[job].put(run.id, (0, 0))",
    ),
    "a place in a line outlives its time": (
        LockMachine,
        locks,
        "_settle_line",
        "until_ms > state.now",
        "until_ms >= state.now",
    ),
}
"""By name: who finds it, the module, a function in it, some text of that, and what is put in its place."""


def changed(module: ModuleType, name: str, old: str, new: str) -> Callable[..., Any]:
    """A function of the product with some of its text replaced."""
    text = textwrap.dedent(inspect.getsource(getattr(module, name)))

    if old not in text:
        raise WrongEdit(f"{name} has no {old!r}")

    found: dict[str, Any] = {}
    exec(compile(text.replace(old, new), f"<{name}, changed>", "exec", dont_inherit=True), vars(module), found)
    return found[name]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("broken", each(IN_MEMORY, DAILY))
def test_the_model_notices_a_break_in_memory(redis_url: str, monkeypatch: pytest.MonkeyPatch, broken: Change) -> None:
    """That memory is no longer what Redis is, or that a law is broken."""
    machine, *change = broken
    monkeypatch.setattr(change[0], change[1], changed(*change))

    with pytest.raises(AssertionError):
        play(machine, redis_url, SEARCH)
