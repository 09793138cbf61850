-- Fire entries, and look which are due next.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the nonce
-- ARGV[2]  fires: msgpack, an array of arrays as FIRE names their places
-- ARGV[3]  how many due entries are wanted
-- ARGV[4]  after how many
--
-- Returns  a TickReply as msgpack
--
-- include: deals
-- include: memos
-- include: rules

local MOST_RETIRED = 100

local ENTRY_STATE = {
  'status', 'revision', 'next_ms', 'run_count', 'missed_count', 'overlap_skipped', 'last_runs', 'version',
}
local ENTRY_NUMBERS = {next_ms = true, run_count = true, missed_count = true, overlap_skipped = true}

-- --- firing ---------------------------------------------------------------------------------------------------

local function set_aside_entry(id, reason)
  redis.call('ZREM', keys.ENTRIES, id)
  redis.call('ZREM', keys.AWAITING, id)
  records.quarantine('entry', id, reason)
end

-- Moves the cursor, or stops the entry.
local function advance(id, fire)
  if fire[FIRE.next_ms] > 0 then
    cursors.activate(id, fire[FIRE.next_ms])
  elseif fire[FIRE.end] == 'completion' then
    cursors.suspend(id, '', 0)
  else
    cursors.halt(id, 'finished')
  end
end

-- Makes the runs of a fire: how many were made and skipped, and the last that is there.
local function make_runs(id, entry, fire)
  local limit, overlap = fire[FIRE.limit], fire[FIRE.overlap]
  local made, skipped, last_id = 0, 0, nil

  for _, new in ipairs(fire[FIRE.runs]) do
    local run_id = new[NEW_RUN.id]

    if limit > 0 and entry.run_count >= limit then
      skipped = skipped + 1
    elseif redis.call('EXISTS', keys.run(run_id)) == 1 then
      last_id = run_id
    elseif deals.make(id, new, overlap) then
      local planned = new[NEW_RUN.scheduled_for_ms]
      made, last_id = made + 1, run_id
      entry.run_count = entry.run_count + 1
      entry.last_ms = planned > 0 and planned or fire[FIRE.cursor_ms]
      -- Read again: what was cancelled for this run is noted there.
      entry.last_runs = cursors.note_made(id, redis.call('HGET', keys.entry(id), 'last_runs'), run_id, entry.last_ms)
    else
      skipped = skipped + 1
      entry.overlap_skipped = entry.overlap_skipped + 1
    end
  end

  return made, skipped, last_id
end

local function await_end(id, made_id, after_ms)
  local run_id = made_id or redis.call('ZREVRANGE', keys.live_of(id), 0, 0)[1]
  local run = run_id and records.pick_run(run_id)

  if run and not moves.FINAL[run.status] then
    cursors.suspend(id, run_id, after_ms)
  else
    cursors.activate(id, clock.NOW + math.max(after_ms, 1))
  end
end

local function fire_entry(fire)
  local id = fire[FIRE.entry_id]
  local entry, reason = records.pick(keys.entry(id), ENTRY_STATE)
  reason = reason or cursors.is_strange(entry)
  local wrong = not reason and records.to_numbers(entry, ENTRY_NUMBERS)

  if reason or wrong then
    set_aside_entry(id, reason or wrong .. ' is not a whole number')
    return {done = false}
  end

  if
    entry.status ~= 'active' or entry.revision ~= fire[FIRE.revision] or fire[FIRE.cursor_ms] == 0
    or entry.next_ms ~= fire[FIRE.cursor_ms]
  then
    return {done = false}
  end

  entry.run_count = entry.run_count or 0
  entry.overlap_skipped = entry.overlap_skipped or 0
  advance(id, fire)
  local made, skipped, last_id = make_runs(id, entry, fire)
  local counts = {'run_count', entry.run_count, 'overlap_skipped', entry.overlap_skipped}

  if fire[FIRE.missed] > 0 then
    counts[#counts + 1] = 'missed_count'
    counts[#counts + 1] = (entry.missed_count or 0) + fire[FIRE.missed]
  end

  if entry.last_ms then
    counts[#counts + 1] = 'last_ms'
    counts[#counts + 1] = entry.last_ms
  end

  redis.call('HSET', keys.entry(id), unpack(counts))

  if fire[FIRE.limit] > 0 and entry.run_count >= fire[FIRE.limit] then
    cursors.halt(id, 'finished')
  elseif fire[FIRE.next_ms] == 0 and fire[FIRE.end] == 'completion' then
    await_end(id, last_id, fire[FIRE.after_ms])
  end

  return {done = true, made = made, skipped = skipped}
end

local function fire_all()
  local fires = cmsgpack.unpack(ARGV[2])

  if #fires == 0 then
    return {}
  end

  local known = memos.recall('tick:' .. ARGV[1])

  if known then
    return cmsgpack.unpack(known)
  end

  local answers = {}

  for i, fire in ipairs(fires) do
    answers[i] = fire_entry(fire)
  end

  memos.memorise('tick:' .. ARGV[1], cmsgpack.pack(answers))
  return answers
end

-- --- looking --------------------------------------------------------------------------------------------------

local running

-- Whether a program that still runs declares an entry.
local function is_declared(id)
  running = running or redis.call('ZRANGEBYSCORE', keys.PROGRAMS, '(' .. clock.digits(clock.NOW), '+inf')

  for _, program in ipairs(running) do
    if redis.call('SISMEMBER', keys.program(program), id) == 1 then
      return true
    end
  end

  return false
end

local due, retired = {}, {}
local left = MOST_RETIRED

-- Puts a due entry on its list; false if it was taken off the list of the active instead. When so many were, the rest of
-- those that are to be is passed over, and found by the next look.
local function look_at(id, cursor_ms)
  local entry, reason = records.pick(keys.entry(id), {'spec', 'revision', 'status', 'run_count', 'declared', 'version'})
  reason = reason or (entry and cursors.is_strange(entry))

  local unreadable = reason or not entry or not entry.spec or not entry.revision
  local lapsed = not unreadable and entry.declared == '1' and not is_declared(id)

  if unreadable or lapsed then
    if left <= 0 then
      return true
    end

    left = left - 1

    if unreadable then
      set_aside_entry(id, reason or (entry and next(entry) and 'it has no spec' or 'it is gone'))
    else
      cursors.halt(id, 'finished')
      redis.call('HSET', keys.entry(id), 'note', RETIRED, 'retired_ms', cursor_ms)
      retired[#retired + 1] = id
    end

    return false
  end

  due[#due + 1] = {
    id = id, spec = entry.spec, revision = entry.revision, cursor_ms = cursor_ms, run_count = entry.run_count or 0,
  }
  return true
end

-- Fills the list, and returns the next time after those on it.
local function look(count, skip)
  while true do
    local flat = redis.call('ZRANGE', keys.ENTRIES, skip, skip + count, 'WITHSCORES')
    local whole = true
    due = {}

    for i = 1, math.min(#flat, 2 * count), 2 do
      local cursor_ms = tonumber(flat[i + 1])

      if cursor_ms > clock.NOW then
        break
      end

      whole = look_at(flat[i], cursor_ms) and whole
    end

    if whole then
      return tonumber(flat[2 * #due + 2]) or 0
    end
  end
end

local fired = fire_all()
places.conclude()
local next_due_ms = look(math.max(tonumber(ARGV[3]), 0), math.max(tonumber(ARGV[4]), 0))

return cmsgpack.pack({
  now_ms = clock.NOW, fired = fired, due = due, next_due_ms = next_due_ms, retired = retired, corrupt = records.corrupt,
})
