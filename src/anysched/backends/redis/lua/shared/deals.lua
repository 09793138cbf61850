-- Making runs of an entry, as the overlap policy wants it. `entry` is its id.
-- include: storing
-- include: constants

local deals = {
  MOST_CANCELLED = 1000,
  MOST_DOUBTED = 16,
}

-- Whether a run of the entry is live. One that is named there and is not (its record was lost) is struck out.
function deals.has_live(entry)
  for _ = 1, deals.MOST_DOUBTED do
    local id = redis.call('ZRANGE', keys.live_of(entry), 0, 0)[1]

    if not id then
      return false
    end

    local run = records.pick_run(id)

    if run and not moves.FINAL[run.status] then
      return true
    end

    redis.call('ZREM', keys.live_of(entry), id)
  end

  return true
end

function deals.cancel_all(ids)
  for _, id in ipairs(ids) do
    local run = records.pick_run(id)

    if run and not moves.FINAL[run.status] then
      moves.cancel(id, run)
    end
  end
end

function deals.cancel_previous(entry)
  deals.cancel_all(redis.call('ZRANGE', keys.waiting_of(entry), 0, -1))
  deals.cancel_all(redis.call('ZRANGE', keys.live_of(entry), 0, deals.MOST_CANCELLED - 1))
end

-- Whether one more run may be made while another is live.
function deals.may_join(entry, overlap)
  if overlap == 'allow' or overlap == 'cancel_previous' then
    return true
  end

  local waiting = redis.call('ZCARD', keys.waiting_of(entry))
  return (overlap == 'queue_one' and waiting == 0) or (overlap == 'queue_all' and waiting < MOST_WAITING)
end

-- Makes a run whose id is free; false if the policy does not want it, or its key is taken.
function deals.make(entry, new, overlap)
  local id, key = new[NEW_RUN.id], new[NEW_RUN.key]

  if key ~= '' and storing.holder_of(key) then
    return false
  end

  if overlap == 'cancel_previous' then
    deals.cancel_previous(entry)
  end

  local live = deals.has_live(entry)

  if live and not deals.may_join(entry, overlap) then
    return false
  end

  if live and overlap ~= 'allow' then
    local order = clock.in_order()
    redis.call('ZADD', keys.waiting_of(entry), order, id)
    redis.call('ZADD', keys.WAITING, order, id)
    storing.store(new, entry, true)
  else
    redis.call('ZADD', keys.live_of(entry), clock.in_order(), id)
    storing.store(new, entry, false)
  end

  return true
end
