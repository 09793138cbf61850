-- A run that is ready at once, and to which there is nothing but its record, is stored sealed: as one string, not as a
-- hash. It is stored, claimed and ended as it is, by commands for many runs, and no script looks into it. Whatever else
-- happens to it (a failure, a cancellation, a watcher, the loss of its node) opens it first: it becomes a hash with the
-- same fields, and stays one.
--
-- The string is a msgpack map of the fields of a run, the job first. When the run has succeeded, a second map follows,
-- of what has been added since. While it runs, RUNNING has for it what its claim said of all such runs of its job: a map
-- of node, started_ms, job, and the first and the last token that the claim gave. Its own token is with its node (HELD).
-- include: keys
-- include: clock

local seals = {}

-- The header of a map of so many fields; there are never more than 15.
function seals.map(count) return string.char(128 + count) end

-- Fields, a flat list, as they follow the header of a map. Instants may come as texts.
function seals.pack(list)
  local parts = {}

  for i = 1, #list, 2 do
    local name, value = list[i], list[i + 1]
    parts[i] = cmsgpack.pack(name)
    parts[i + 1] = cmsgpack.pack(string.sub(name, -3) == '_ms' and tonumber(value) or value)
  end

  return table.concat(parts)
end

-- What RUNNING has for runs of a job that were claimed together.
function seals.claim(node, job, first, last)
  return cmsgpack.pack({node = node, job = job, started_ms = clock.NOW, first = first, last = last})
end

-- That as a table; nil if it is not what the text is.
function seals.read_claim(text)
  local well, claim = pcall(cmsgpack.unpack, text)

  if
    well and type(claim) == 'table' and type(claim.node) == 'string' and type(claim.job) == 'string'
    and type(claim.started_ms) == 'number' and type(claim.first) == 'number' and type(claim.last) == 'number'
  then
    return claim
  end
end

-- What has been added to a run that succeeds now, up to the token and the result.
function seals.ending(started_ms)
  return seals.pack({'attempt', 1, 'started_ms', started_ms, 'status', 'succeeded', 'finished_ms', clock.NOW})
    .. '\165token'
end

-- The second map of a run that succeeds.
function seals.ended(ending, token, result)
  if result == '' then
    return seals.map(5) .. ending .. cmsgpack.pack(token)
  end

  return seals.map(6) .. ending .. cmsgpack.pack(token) .. '\166result' .. cmsgpack.pack(result)
end

-- The job of a run that is sealed, and the beginning of the text that says so; nil if that is not what the text is. The
-- rest of it was not looked at.
function seals.job(text)
  local header, _, _, _, _, size, longer = string.byte(text or '', 1, 7)

  if not longer or header < 129 or header > 143 then
    return nil
  elseif size >= 160 and size < 192 then
    return string.sub(text, 7, size - 154), string.sub(text, 1, size - 154)
  elseif size == 217 then
    return string.sub(text, 8, longer + 7), string.sub(text, 1, longer + 7)
  end
end

-- lazily: seals

-- A sealed run that is ready. count: the number of its fields, but for the payload.
function seals.live(count, fields, payload)
  if payload == '' then
    return seals.map(count) .. fields
  end

  return seals.map(count + 1) .. fields .. '\167payload' .. cmsgpack.pack(payload)
end

local NUMBERS = {attempt = true, token = true, priority = true}

-- Whether these are fields of a run, each of the type that it is stored as.
local function are_fields(fields)
  if type(fields) ~= 'table' then
    return false
  end

  for name, value in pairs(fields) do
    local is_number = type(name) == 'string' and (NUMBERS[name] or string.sub(name, -3) == '_ms')

    if type(name) ~= 'string' or type(value) ~= (is_number and 'number' or 'string') then
      return false
    end
  end

  return true
end

-- Adds to a sealed run what makes it a running one, if it is; why that cannot be.
local function add_claim(id, run)
  local text = redis.call('HGET', keys.RUNNING, id)
  local claim = text and seals.read_claim(text)
  local token = claim and redis.call('ZSCORE', keys.held(claim.node), id)

  if text and not token then
    return 'it is not known who has it'
  elseif text then
    run.status, run.attempt, run.token = 'running', 1, tonumber(token)
    run.node, run.started_ms = claim.node, claim.started_ms
  end
end

-- All fields of a sealed run as a table; nil and a reason if it is none; nil alone if it is not there.
function seals.read(id)
  local text = redis.pcall('GET', keys.run(id))

  if not text then
    return nil
  elseif type(text) ~= 'string' then
    return nil, 'neither a hash nor sealed'
  end

  local well, run, ended, more = pcall(cmsgpack.unpack, text)

  if not well or more ~= nil or not are_fields(run) or not (ended == nil or are_fields(ended)) then
    return nil, 'its seal is broken'
  end

  for name, value in pairs(ended or {}) do
    run[name] = value
  end

  local reason = ended == nil and add_claim(id, run)

  if reason then
    return nil, reason
  end

  return run
end

-- Makes a hash of a sealed run that was read.
function seals.open(id, run)
  local key, flat = keys.run(id), {}
  local left_ms = redis.call('PTTL', key)

  for name, value in pairs(run) do
    flat[#flat + 1] = name
    flat[#flat + 1] = type(value) == 'number' and clock.digits(value) or value
  end

  redis.call('DEL', key)
  redis.call('HSET', key, unpack(flat))
  redis.call('HDEL', keys.RUNNING, id)

  -- 0: it goes in this very millisecond. Only what has no end to its time (-1) is to stay.
  if left_ms >= 0 then
    redis.call('PEXPIRE', key, math.max(left_ms, 1))
  end
end
