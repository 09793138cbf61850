-- Making runs. A new run is an array as NEW_RUN names its places.
-- include: moves

local storing = {
  known_queues = {},
  sealed = {}, -- key, text, key, text, ...
}

-- What runs that differ in nothing but id and payload have in common. waiting: whether they wait for others of their
-- entry.
function storing.plan(new, entry_id, waiting)
  local queue, at_ms, delay_ms = new[NEW_RUN.queue], new[NEW_RUN.at_ms], new[NEW_RUN.delay_ms]
  local due_ms = (at_ms > 0 and at_ms) or (delay_ms > 0 and clock.NOW + delay_ms) or 0
  local status = (waiting and 'waiting') or (due_ms > clock.NOW and 'scheduled') or 'ready'
  local shared = fields.of(new, entry_id, due_ms, status)
  local expires_ms = new[NEW_RUN.expires_ms]
  local expires_at_ms = fields.earlier(
    new[NEW_RUN.expires_at_ms],
    expires_ms > 0 and (due_ms > 0 and due_ms or clock.NOW) + expires_ms or 0
  )

  if expires_at_ms > 0 then
    shared[#shared + 1] = 'expires_at_ms'
    shared[#shared + 1] = expires_at_ms
  end

  -- What it was made of, for when the due time is moved.
  if expires_ms > 0 then
    fields.put(shared, 'expires_ms', expires_ms)

    if new[NEW_RUN.expires_at_ms] > 0 then
      fields.put(shared, 'expires_by_ms', new[NEW_RUN.expires_at_ms])
    end
  end

  return {
    fields = shared, count = #shared, key = new[NEW_RUN.key], status = status, due_ms = due_ms,
    expires_at_ms = expires_at_ms, run = {queue = queue, priority = new[NEW_RUN.priority]},
    to_seal = status == 'ready' and expires_at_ms == 0 and entry_id == '' and new[NEW_RUN.key] == '' and seals.pack(shared),
  }
end

-- Puts the record of a run where it belongs.
local function write(plan, at, payload)
  local flat, last = plan.fields, plan.count

  if plan.to_seal and #payload <= SHORT_PAYLOAD then
    local count = #storing.sealed
    storing.sealed[count + 1], storing.sealed[count + 2] = at, seals.live(last / 2, plan.to_seal, payload)
    return
  end

  if payload ~= '' then
    flat[last + 1], flat[last + 2] = 'payload', payload
    last = last + 2
  end

  redis.call('HSET', at, unpack(flat, 1, last))
end

-- Stores a run whose id and key are free. at: its key.
function storing.store_as(plan, id, at, payload)
  local run = plan.run
  write(plan, at, payload)

  if plan.expires_at_ms > 0 then
    redis.call('ZADD', keys.EXPIRING, plan.expires_at_ms, id)
  end

  if plan.key ~= '' then
    redis.call('SET', keys.key(plan.key), id)
  end

  if not storing.known_queues[run.queue] then
    storing.known_queues[run.queue] = true
    redis.call('SADD', keys.QUEUES, run.queue)
  end

  if plan.status == 'scheduled' then
    places.make_due(id, run, plan.due_ms)
  elseif plan.status == 'ready' then
    places.make_ready(id, run)
  end
end

-- Stores those that are to be sealed. After store_as().
function storing.store_sealed()
  local list = storing.sealed

  for first = 1, #list, 4000 do
    redis.call('MSET', unpack(list, first, math.min(first + 3999, #list)))
  end
end

function storing.store(new, entry_id, waiting)
  local id = new[NEW_RUN.id]
  storing.store_as(storing.plan(new, entry_id, waiting), id, keys.run(id), new[NEW_RUN.payload])
end

-- The live run that goes by a key. A key that leads to no live run (its record was lost or is corrupt) is free.
function storing.holder_of(key)
  local id = records.text(keys.key(key))

  if not id then
    return nil
  end

  local run = records.pick_run(id)

  if run and not moves.FINAL[run.status] and not moves.expire(id, run) then
    return id
  end

  redis.call('DEL', keys.key(key))
  return nil
end
