-- Fencing tokens of runs and locks, from one sequence: greater than any before, and also than any of an earlier life
-- of the store, as far as its clock goes forward.
-- include: records

local tokens = {
  -- Lua's integers are C's long. Where that is long enough, it is the faster way.
  DIGITS = string.format('%d', 2 ^ 52) == '4503599627370496' and '%d' or '%.0f',
}

function tokens.next()
  if not tokens.newest then
    tokens.newest = tonumber(records.text(keys.TOKEN) or '') or 0
  end

  tokens.newest = math.max(tokens.newest + 1, clock.NOW_US)
  return tokens.newest
end

function tokens.digits(token) return string.format(tokens.DIGITS, token) end

function tokens.store()
  if tokens.newest then
    redis.call('SET', keys.TOKEN, clock.digits(tokens.newest))
  end
end
