-- Making runs. A new run is an array as NEW_RUN names its places.
-- include: moves

local storing = {
  known_queues = {},
}

function storing.earlier(a, b)
  if a > 0 and b > 0 then
    return math.min(a, b)
  end

  return math.max(a, b)
end

-- The fields to be stored, but for the payload: only what is not the default, so that a waiting run takes little memory.
function storing.fields_of(new, entry_id, due_ms, status)
  local fields = {'job', new[NEW_RUN.job], 'enqueued_ms', clock.NOW_TEXT}
  local count = 4

  local function put(name, value)
    fields[count + 1] = name
    fields[count + 2] = value
    count = count + 2
  end

  local queue, priority = new[NEW_RUN.queue], new[NEW_RUN.priority]
  local key, options = new[NEW_RUN.key], new[NEW_RUN.options]
  local scheduled_for_ms, ttl_ms = new[NEW_RUN.scheduled_for_ms], new[NEW_RUN.ttl_ms]
  local deadline_after_ms = new[NEW_RUN.deadline_after_ms]
  local deadline_ms = storing.earlier(new[NEW_RUN.deadline_ms], deadline_after_ms > 0 and clock.NOW + deadline_after_ms or 0)

  if status ~= 'ready' then put('status', status) end
  if options ~= '' then put('options', options) end
  if queue ~= 'default' then put('queue', queue) end
  if priority ~= 0 then put('priority', priority) end
  if due_ms > 0 then put('due_ms', due_ms) end
  if deadline_ms > 0 then put('deadline_ms', deadline_ms) end
  if key ~= '' then put('key', key) end
  if entry_id ~= '' then put('entry_id', entry_id) end
  if scheduled_for_ms ~= 0 then put('scheduled_for_ms', scheduled_for_ms) end
  if ttl_ms ~= moves.DEFAULT_TTL_MS then put('ttl_ms', ttl_ms) end
  return fields
end

-- What runs that differ in nothing but id and payload have in common. waiting: whether they wait for others of their
-- entry.
function storing.plan(new, entry_id, waiting)
  local queue, at_ms, delay_ms = new[NEW_RUN.queue], new[NEW_RUN.at_ms], new[NEW_RUN.delay_ms]
  local due_ms = (at_ms > 0 and at_ms) or (delay_ms > 0 and clock.NOW + delay_ms) or 0
  local status = (waiting and 'waiting') or (due_ms > clock.NOW and 'scheduled') or 'ready'
  local fields = storing.fields_of(new, entry_id, due_ms, status)
  local expires_ms = new[NEW_RUN.expires_ms]
  local expires_at_ms = storing.earlier(
    new[NEW_RUN.expires_at_ms],
    expires_ms > 0 and (due_ms > 0 and due_ms or clock.NOW) + expires_ms or 0
  )

  if expires_at_ms > 0 then
    fields[#fields + 1] = 'expires_at_ms'
    fields[#fields + 1] = expires_at_ms
  end

  return {
    fields = fields, count = #fields, key = new[NEW_RUN.key], status = status, due_ms = due_ms,
    expires_at_ms = expires_at_ms, run = {queue = queue, priority = new[NEW_RUN.priority]},
  }
end

-- Stores a run whose id and key are free. at: its key.
function storing.store_as(plan, id, at, payload)
  local fields, last = plan.fields, plan.count
  local run = plan.run

  if payload ~= '' then
    fields[last + 1], fields[last + 2] = 'payload', payload
    last = last + 2
  end

  redis.call('HSET', at, unpack(fields, 1, last))

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

  if run and not moves.FINAL[run.status] then
    return id
  end

  redis.call('DEL', keys.key(key))
  return nil
end
