-- Storing entries. A new entry is an array as ENTRY names its places.
-- include: cursors

local function set_rule(new, declared)
  redis.call(
    'HSET', entry_key(new[ENTRY.id]), 'spec', new[ENTRY.spec], 'revision', new[ENTRY.revision],
    'declared', declared and 1 or 0
  )
end

local function add_entry(new, declared)
  local id = new[ENTRY.id]
  redis.call('DEL', entry_key(id))
  redis.call('ZADD', ENTRY_IDS, 0, id)
  set_rule(new, declared)
  activate(id, new[ENTRY.next_ms])
end

-- Gives an entry another rule. A paused one stays paused, with its note.
local function change_entry(new, declared, status)
  local id = new[ENTRY.id]
  set_rule(new, declared)

  if status == 'paused' then
    redis.call('HSET', entry_key(id), 'next_ms', new[ENTRY.next_ms])
    return
  end

  redis.call('HDEL', entry_key(id), 'note')
  activate(id, new[ENTRY.next_ms])
end

-- What is known of an entry; nil if there is none, or only a record that cannot be read.
local function known_entry(id)
  local entry = pick(entry_key(id), {'status', 'revision', 'declared', 'note'})
  return entry and entry.revision and entry.status and entry
end
