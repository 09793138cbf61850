-- Storing entries. A new entry is an array as ENTRY names its places.
-- include: cursors

local rules = {}

function rules.set_rule(new, declared)
  redis.call(
    'HSET', keys.entry(new[ENTRY.id]), 'spec', new[ENTRY.spec], 'revision', new[ENTRY.revision],
    'declared', declared and 1 or 0
  )
end

function rules.add(new, declared)
  local id = new[ENTRY.id]
  redis.call('DEL', keys.entry(id))
  redis.call('ZADD', keys.ENTRY_IDS, 0, id)
  rules.set_rule(new, declared)
  cursors.activate(id, new[ENTRY.next_ms])
end

-- Gives an entry another rule. A paused one stays paused, with its note.
function rules.change(new, declared, status)
  local id = new[ENTRY.id]
  rules.set_rule(new, declared)

  if status == 'paused' then
    redis.call('HSET', keys.entry(id), 'next_ms', new[ENTRY.next_ms])
    return
  end

  redis.call('HDEL', keys.entry(id), 'note')
  cursors.activate(id, new[ENTRY.next_ms])
end

-- What is known of an entry; nil if there is none, or only a record that cannot be read.
function rules.find(id)
  local entry = records.pick(keys.entry(id), {'status', 'revision', 'declared', 'note'})
  return entry and entry.revision and entry.status and entry
end
