-- A new run's record. A new run is an array as NEW_RUN names its places.
-- include: clock
-- include: constants

local fields = {}

function fields.earlier(a, b)
  if a > 0 and b > 0 then
    return math.min(a, b)
  end

  return math.max(a, b)
end

function fields.put(list, name, value)
  local count = #list
  list[count + 1], list[count + 2] = name, value
end

-- What is to be stored, but for the payload: only what is not the default, so that a waiting run takes little memory.
function fields.of(new, entry_id, due_ms, status)
  local list = {'job', new[NEW_RUN.job], 'enqueued_ms', clock.NOW_TEXT}
  local queue, priority = new[NEW_RUN.queue], new[NEW_RUN.priority]
  local key, options = new[NEW_RUN.key], new[NEW_RUN.options]
  local scheduled_for_ms, ttl_ms = new[NEW_RUN.scheduled_for_ms], new[NEW_RUN.ttl_ms]
  local deadline_after_ms = new[NEW_RUN.deadline_after_ms]
  local deadline_ms = fields.earlier(new[NEW_RUN.deadline_ms], deadline_after_ms > 0 and clock.NOW + deadline_after_ms or 0)

  if status ~= 'ready' then fields.put(list, 'status', status) end
  if options ~= '' then fields.put(list, 'options', options) end
  if queue ~= 'default' then fields.put(list, 'queue', queue) end
  if priority ~= 0 then fields.put(list, 'priority', priority) end
  if due_ms > 0 then fields.put(list, 'due_ms', due_ms) end
  if deadline_ms > 0 then fields.put(list, 'deadline_ms', deadline_ms) end
  if key ~= '' then fields.put(list, 'key', key) end
  if entry_id ~= '' then fields.put(list, 'entry_id', entry_id) end
  if scheduled_for_ms ~= 0 then fields.put(list, 'scheduled_for_ms', scheduled_for_ms) end
  if ttl_ms ~= DEFAULT_TTL_MS then fields.put(list, 'ttl_ms', ttl_ms) end
  return list
end
