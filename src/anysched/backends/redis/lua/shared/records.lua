-- Reading records so that a bad one fails alone. redis.call would raise in the middle of a script and leave half an
-- effect, so each record is read through redis.pcall before anything is written for it.
-- include: keys
-- include: clock
-- include: seals

local records = {
  CORRUPT_KEPT = 1000,
  CORRUPT_TTL_MS = 7 * 86400000,
  VERSION = '1', -- of a record that does not say; no other is known here

  -- What the reply names as set aside: {id = ..., reason = ...}.
  corrupt = {},
}

-- Sends a command with any number of arguments: Lua cannot unpack more than about 7,900 at once.
function records.in_chunks(command, key, list)
  local count = #list

  for first = 1, count, 4000 do
    redis.call(command, key, unpack(list, first, math.min(first + 3999, count)))
  end
end

-- A text; nil if there is none, or something else in its place.
function records.text(key)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and found or nil
end

-- Writes to what is no record (a count, a list for people); something else in its place is thrown away.
function records.write(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  local wrong = type(reply) == 'table' and reply.err

  if not wrong then
    return reply
  end

  if string.find(wrong, 'WRONGTYPE', 1, true) or string.find(wrong, 'not an integer', 1, true) then
    redis.call('DEL', key)
  end

  return redis.call(command, key, ...)
end

-- The whole number that a text is; nil if it is none.
function records.whole(text)
  local number = tonumber(text or '')
  return number and number % 1 == 0 and math.abs(number) < 9007199254740992 and number or nil
end

-- Some fields of a hash as a table, without those that are absent; nil and a reason if it is no hash.
function records.pick(key, names)
  local values = redis.pcall('HMGET', key, unpack(names))

  if values.err then
    return nil, 'not a hash'
  end

  local record = {}

  for i, name in ipairs(names) do
    if values[i] then
      record[name] = values[i]
    end
  end

  return record
end

-- lazily: records

-- Notes a record (kind "run" or "entry") as unreadable. It stays where it is, a run's for a week.
function records.quarantine(kind, id, reason)
  local name = kind .. ':' .. id
  records.corrupt[#records.corrupt + 1] = {id = id, reason = reason}
  redis.call('ZADD', keys.CORRUPT, clock.NOW, name)
  redis.call('HSET', keys.CORRUPT_REASONS, name, reason)

  if redis.call('ZCARD', keys.CORRUPT) > records.CORRUPT_KEPT then
    local oldest = redis.call('ZPOPMIN', keys.CORRUPT)
    redis.call('HDEL', keys.CORRUPT_REASONS, oldest[1])
  end

  if kind == 'run' then
    redis.call('HDEL', keys.RUNNING, id)
    redis.call('PEXPIRE', keys.run(id), records.CORRUPT_TTL_MS)
  end
end

-- Makes numbers of the fields that are to be; the name of one that is not, else nil. are_numbers: name -> true.
function records.to_numbers(record, are_numbers)
  for name, text in pairs(record) do
    if are_numbers[name] then
      local number = records.whole(text)

      if not number then
        return name
      end

      record[name] = number
    end
  end
end

-- All fields of a hash as a table; nil and a reason if it is none; nil alone if it is not there.
function records.read(key)
  local flat = redis.pcall('HGETALL', key)

  if flat.err then
    return nil, 'not a hash'
  end

  if #flat == 0 then
    return nil
  end

  local record = {}

  for i = 1, #flat, 2 do
    record[flat[i]] = flat[i + 1]
  end

  return record
end

local RUN_NUMBERS = {
  attempt = true, priority = true, token = true, due_ms = true, expires_at_ms = true, deadline_ms = true,
  enqueued_ms = true, started_ms = true, scheduled_for_ms = true, finished_ms = true, crashes = true, ttl_ms = true,
}

local RUN_STATE = {
  'job', 'status', 'queue', 'priority', 'attempt', 'token', 'node', 'key', 'entry_id', 'expires_at_ms', 'started_ms',
  'ttl_ms', 'cancel_requested', 'set_aside', 'watch', 'crash_times', 'version', 'due_ms', 'enqueued_ms',
  'scheduled_for_ms',
}

local STATUSES = {
  waiting = true, scheduled = true, ready = true, running = true, retrying = true,
  succeeded = true, failed = true, cancelled = true, expired = true,
}

-- Why a run cannot be understood, if it is of another version or has no status that there is.
function records.is_strange(run)
  if run.version and run.version ~= records.VERSION then
    return 'version ' .. run.version .. ' is not known here'
  end

  if run.status and not STATUSES[run.status] then
    return 'there is no status ' .. run.status
  end
end

-- Checks a run that was read and fills in what is not stored because it is the default. nil and a reason if corrupt.
function records.check_run(run, reason)
  if not run then
    return nil, reason
  end

  local strange = records.is_strange(run)

  if strange then
    return nil, strange
  end

  if not run.job then
    return nil, 'it has no job'
  end

  local wrong = records.to_numbers(run, RUN_NUMBERS)

  if wrong then
    return nil, wrong .. ' is not a whole number'
  end

  run.status = run.status or 'ready'
  run.queue = run.queue or 'default'
  run.priority = run.priority or 0
  run.attempt = run.attempt or 0
  return run
end

-- All fields of a run, sealed or not; nil and a reason if there is something else; nil alone if there is nothing.
function records.all_of_run(id)
  local run, reason = records.read(keys.run(id))

  if reason then
    return seals.read(id)
  end

  return run
end

-- A run with its texts; nil and a reason if corrupt; nil alone if there is none.
function records.read_run(id)
  local run, reason = records.all_of_run(id)

  if not run and not reason then
    return nil
  end

  return records.check_run(run, reason)
end

-- Opens a sealed run if it is sound; it is returned as pick_run() has it.
function records.open_run(id)
  local sealed, reason = seals.read(id)
  local run = {}

  for name, value in pairs(sealed or {}) do
    run[name] = value
  end

  run, reason = records.check_run(sealed and run, reason)

  if run then
    seals.open(id, sealed)
  end

  return run, reason
end

-- What is needed to move a run, without its texts; it is open then. nil and a reason if corrupt; nil alone if there is
-- none.
function records.pick_run(id)
  local run, reason = records.pick(keys.run(id), RUN_STATE)

  if reason then
    return records.open_run(id)
  elseif next(run) == nil and redis.call('EXISTS', keys.run(id)) == 0 then
    return nil
  end

  return records.check_run(run, reason)
end

-- Whether a run is there and is running.
function records.is_running(id)
  local key = keys.run(id)
  return redis.pcall('HGET', key, 'status') == 'running'
    or (redis.call('HEXISTS', keys.RUNNING, id) == 1 and redis.call('EXISTS', key) == 1)
end
