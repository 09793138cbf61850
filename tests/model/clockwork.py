"""A real Redis that goes by a test's own clock, and scripts that can be changed on their way to it.

Each script gets a few lines before its first. They put another ``redis`` in the place of the server's: ``TIME`` is what
the clock in force says, which travels as a second key, and what is to be removed after a while is noted in a sorted set
and removed at the beginning of the first script that finds its time has come. So nothing has to be waited for, instants
are exact, and what lives for an hour can be seen to go. Everything else is done by the server, and by the product's own
scripts, wire format and client.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen

from anysched.backends.redis import RedisBackend
from anysched.backends.redis.link import Argument, Script
from anysched.backends.redis.scripts import all_scripts, script
from anysched.clock import clock_in_force

__all__ = ["TEST_KEYS", "Edit", "SteppedRedis", "WrongEdit"]

TEST_KEYS = ("test-expiries",)
"""Keys that are not the product's, without their prefix."""

PROLOGUE = """\
local redis = (function(server)
  local EXPIRIES = KEYS[1] .. 'test-expiries'
  local MICROS = tonumber(KEYS[2])
  local MILLIS = math.floor(MICROS / 1000)

  local function lives_until(key, instant)
    server.call('ZADD', EXPIRIES, instant, key)
    return 1
  end

  local own = {
    TIME = function()
      return {string.format('%.0f', math.floor(MICROS / 1000000)), string.format('%.0f', MICROS % 1000000)}
    end,

    PEXPIRE = function(key, ttl)
      return server.call('EXISTS', key) == 1 and lives_until(key, MILLIS + ttl) or 0
    end,

    PERSIST = function(key) return server.call('ZREM', EXPIRIES, key) end,

    PTTL = function(key)
      local instant = server.call('ZSCORE', EXPIRIES, key)
      return instant and instant - MILLIS or -1
    end,

    SET = function(key, value, px, ttl)
      server.call('ZREM', EXPIRIES, key)
      server.call('SET', key, value)
      return px == 'PX' and lives_until(key, MILLIS + ttl)
    end,
  }

  for _, key in ipairs(server.call('ZRANGEBYSCORE', EXPIRIES, '-inf', string.format('%.0f', MILLIS))) do
    server.call('DEL', key)
    server.call('ZREM', EXPIRIES, key)
  end

  -- A key that is gone is gone with the time that it had to live.
  local takes = {DEL = true, ZREM = true, HDEL = true, SREM = true, ZPOPMIN = true}

  local function call(command, ...)
    if own[command] then
      return own[command](...)
    end

    local reply = server.call(command, ...)

    if takes[command] then
      for _, key in ipairs(command == 'DEL' and {...} or {(...)}) do
        if server.call('EXISTS', key) == 0 then
          server.call('ZREM', EXPIRIES, key)
        end
      end
    end

    return reply
  end

  -- Everybody listens, to a pattern, which the server does not count.
  local function pcall(command, ...)
    if command == 'PUBSUB' then
      return {(select(2, ...)), 1}
    end

    return server.pcall(command, ...)
  end

  return {call = call, pcall = pcall}
end)(redis)
"""


class WrongEdit(Exception):
    """An edit that finds nothing to change: the product has changed, and the edit has to follow."""


@frozen
class Edit:
    """A change to the scripts, each with all its parts in it: some text, and what is put in its place."""

    old: str
    new: str

    def apply(self, text: str) -> str:
        """The changed script, if this is in it."""
        return text.replace(self.old, self.new)

    def check(self) -> None:
        """See that there is something to change.

        Raises:
            WrongEdit: there is not.
        """
        if not any(self.old in one.text for one in all_scripts()):
            raise WrongEdit(self.old)


@define(eq=False)
class SteppedRedis(RedisBackend):
    """The Redis backend, its server under the clock in force.

    Args:
        edits: what is to be changed in the scripts.
    """

    _edits: tuple[Edit, ...] = field(default=(), alias="edits", kw_only=True)

    @_edits.validator
    def _check(self, _: object, edits: tuple[Edit, ...]) -> None:
        for edit in edits:
            edit.check()

    _changed: dict[str, Script] = field(factory=dict[str, Script], init=False)

    async def time_ms(self) -> int:
        """The clock in force."""
        return clock_in_force.get().microseconds() // 1000

    async def _call(self, name: str, *args: Argument) -> Any:
        keys = (self._prefix, str(clock_in_force.get().microseconds()))
        return await self._link().call(self._script(name), keys, args)

    def _script(self, name: str) -> Script:
        if (found := self._changed.get(name)) is None:
            text = script(name).text

            for edit in self._edits:
                text = edit.apply(text)

            found = self._changed[name] = Script(name, PROLOGUE + text)

        return found
