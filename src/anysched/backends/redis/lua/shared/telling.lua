-- Entries as they are told to Python.
-- include: cursors

local MOST_NAMED = 100

-- An entry as msgpack, an object as EntryRecord names its fields (numbers may be texts); with a reason if corrupt: an
-- object {id, corrupt}; nil if there is none.
local function show_entry(id)
  local entry, reason = read(entry_key(id))

  if reason then
    return cmsgpack.pack({id = id, corrupt = reason})
  end

  if not entry then
    return nil
  end

  entry.id = id
  entry.last_runs = last_runs(entry.last_runs)
  entry.live = redis.call('ZRANGE', live_of_key(id), 0, MOST_NAMED - 1)
  entry.waiting = redis.call('ZRANGE', waiting_of_key(id), 0, MOST_NAMED - 1)
  return cmsgpack.pack(entry)
end
