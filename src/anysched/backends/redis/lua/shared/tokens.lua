-- Fencing tokens of runs and locks, from one sequence: greater than any before, and also than any of an earlier life
-- of the store, as far as its clock goes forward.
-- include: records

local tokens = {
  -- Lua's integers are C's long. Where that is long enough, it is the faster way.
  DIGITS = string.format('%d', 2 ^ 52) == '4503599627370496' and '%d' or '%.0f',
}

-- So many in order; the first of them.
function tokens.take(count)
  local last = tokens.newest or tonumber(records.text(keys.TOKEN) or '') or 0
  local first = math.max(last + 1, clock.NOW_US)
  tokens.newest = first + count - 1
  return first
end

function tokens.next() return tokens.take(1) end

function tokens.digits(token) return string.format(tokens.DIGITS, token) end

function tokens.store()
  if tokens.newest then
    redis.call('SET', keys.TOKEN, clock.digits(tokens.newest))
  end
end
