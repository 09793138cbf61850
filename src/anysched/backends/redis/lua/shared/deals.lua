-- Making runs of an entry, as the overlap policy wants it. An entry here is {id, last_runs as packed}.
-- include: storing

local MOST_WAITING = 1000
local MOST_CANCELLED = 1000
local MOST_DOUBTED = 16

-- Whether a run of the entry is live. One that is named there and is not (its record was lost) is struck out.
local function has_live(entry)
  for _ = 1, MOST_DOUBTED do
    local id = redis.call('ZRANGE', live_of_key(entry), 0, 0)[1]

    if not id then
      return false
    end

    local run = pick_run(id)

    if run and not FINAL[run.status] then
      return true
    end

    redis.call('ZREM', live_of_key(entry), id)
  end

  return true
end

local function cancel_all(ids)
  for _, id in ipairs(ids) do
    local run = pick_run(id)

    if run and not FINAL[run.status] then
      cancel(id, run)
    end
  end
end

local function cancel_previous(entry)
  cancel_all(redis.call('ZRANGE', waiting_of_key(entry), 0, -1))
  cancel_all(redis.call('ZRANGE', live_of_key(entry), 0, MOST_CANCELLED - 1))
end

-- Whether one more run may be made while another is live.
local function may_join(entry, overlap)
  if overlap == 'allow' or overlap == 'cancel_previous' then
    return true
  end

  local waiting = redis.call('ZCARD', waiting_of_key(entry))
  return (overlap == 'queue_one' and waiting == 0) or (overlap == 'queue_all' and waiting < MOST_WAITING)
end

-- Makes a run whose id is free; false if the policy does not want it, or its key is taken.
local function make(entry, new, overlap)
  local id, key = new[NEW_RUN.id], new[NEW_RUN.key]

  if key ~= '' and holder_of(key) then
    return false
  end

  if overlap == 'cancel_previous' then
    cancel_previous(entry)
  end

  local live = has_live(entry)

  if live and not may_join(entry, overlap) then
    return false
  end

  if live and overlap ~= 'allow' then
    local order = in_order()
    redis.call('ZADD', waiting_of_key(entry), order, id)
    redis.call('ZADD', WAITING, order, id)
    store(new, entry, true)
  else
    redis.call('ZADD', live_of_key(entry), in_order(), id)
    store(new, entry, false)
  end

  return true
end
