-- Storing entries. A new entry is an array as ENTRY names its places.
-- include: cursors
-- include: constants

local rules = {
  NUMBERS = {
    next_ms = true, last_ms = true, run_count = true, missed_count = true, overlap_skipped = true, retired_ms = true,
  },
}

function rules.set_rule(new, declared)
  redis.call(
    'HSET', keys.entry(new[ENTRY.id]), 'spec', new[ENTRY.spec], 'revision', new[ENTRY.revision],
    'declared', declared and 1 or 0
  )
end

function rules.add(new, declared)
  local id = new[ENTRY.id]
  redis.call('DEL', keys.entry(id))
  redis.call('ZREM', keys.CORRUPT, 'entry:' .. id)
  redis.call('HDEL', keys.CORRUPT_REASONS, 'entry:' .. id)
  redis.call('ZADD', keys.ENTRY_IDS, 0, id)
  rules.set_rule(new, declared)
  rules.count_missed(new, 0)
  cursors.activate(id, new[ENTRY.next_ms])
end

function rules.count_missed(new, before)
  if new[ENTRY.missed] + before > 0 then
    redis.call('HSET', keys.entry(new[ENTRY.id]), 'missed_count', new[ENTRY.missed] + before)
  end
end

local function is_retired(known) return known.status == 'finished' and known.note == RETIRED end

-- Lets an entry that was retired go on from where it stopped; whether it was.
function rules.come_back(new, known)
  if not is_retired(known) then
    return false
  end

  local id = new[ENTRY.id]
  redis.call('HDEL', keys.entry(id), 'note', 'retired_ms')
  cursors.activate(id, records.whole(known.retired_ms) or new[ENTRY.next_ms])
  return true
end

-- Whether a fire of an active entry is due.
function rules.is_due(known)
  local cursor_ms = known.status == 'active' and records.whole(known.next_ms) or 0
  return cursor_ms > 0 and cursor_ms <= clock.NOW
end

-- Gives an entry another rule. A paused one stays paused, with its note. A fire that was due counts as missed.
function rules.change(new, declared, known)
  local id = new[ENTRY.id]
  local was_due = is_retired(known) or rules.is_due(known)
  rules.set_rule(new, declared)
  rules.count_missed(new, (records.whole(known.missed_count) or 0) + (was_due and 1 or 0))

  if known.status == 'paused' then
    redis.call('HSET', keys.entry(id), 'next_ms', new[ENTRY.next_ms])
    return
  end

  local is_used_up = new[ENTRY.limit] > 0 and (records.whole(known.run_count) or 0) >= new[ENTRY.limit]
  redis.call('HDEL', keys.entry(id), 'note', 'retired_ms')
  cursors.activate(id, is_used_up and 0 or new[ENTRY.next_ms])
end

-- What is known of an entry; nil if there is none, or only a record that cannot be read.
function rules.find(id)
  local entry = records.pick(
    keys.entry(id),
    {'status', 'revision', 'declared', 'note', 'next_ms', 'retired_ms', 'run_count', 'missed_count'}
  )
  return entry and entry.revision and entry.status and entry
end

-- Whether the record of an entry can be read, and was not found to be unreadable by others either.
function rules.is_sound(id)
  local entry, reason = records.read(keys.entry(id))
  return entry and not reason and not cursors.is_strange(entry) and not records.to_numbers(entry, rules.NUMBERS)
    and not redis.call('ZSCORE', keys.CORRUPT, 'entry:' .. id)
end
