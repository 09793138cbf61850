-- Fencing tokens of runs and locks, from one sequence: greater than any before, and also than any of an earlier life
-- of the store, as far as its clock goes forward.
-- include: clock
-- include: keys

local newest_token

local function next_token()
  if not newest_token then
    newest_token = tonumber(redis.call('GET', TOKEN)) or 0
  end

  newest_token = math.max(newest_token + 1, NOW_US)
  return newest_token
end

local function store_token()
  if newest_token then
    redis.call('SET', TOKEN, digits(newest_token))
  end
end
