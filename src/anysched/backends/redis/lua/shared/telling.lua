-- Entries as they are told to Python.
-- include: cursors

local telling = {
  MOST_NAMED = 100,
}

-- An entry as msgpack, an object as EntryRecord names its fields (numbers may be texts); with a reason if corrupt: an
-- object {id, corrupt}; nil if there is none.
function telling.show(id)
  local entry, reason = records.read(keys.entry(id))
  reason = reason or (entry and cursors.is_strange(entry))

  if reason then
    return cmsgpack.pack({id = id, corrupt = reason})
  end

  if not entry then
    return nil
  end

  entry.id = id
  entry.last_runs = cursors.last_runs(entry.last_runs)
  entry.live = redis.call('ZRANGE', keys.live_of(id), 0, telling.MOST_NAMED - 1)
  entry.waiting = redis.call('ZRANGE', keys.waiting_of(id), 0, telling.MOST_NAMED - 1)
  return cmsgpack.pack(entry)
end
