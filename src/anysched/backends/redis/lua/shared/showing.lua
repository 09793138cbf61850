-- Records as they are told to Python.
-- include: records

local showing = {}

-- A run as msgpack, an object as RunRecord names its fields (numbers may be texts); with a reason if corrupt: an
-- object {id, corrupt}; nil if there is none.
function showing.show(id)
  local run, reason = records.all_of_run(id)

  if reason then
    return cmsgpack.pack({id = id, corrupt = reason})
  end

  if not run then
    return nil
  end

  local strange = records.is_strange(run)

  if strange then
    return cmsgpack.pack({id = id, corrupt = strange})
  end

  local errors = {}

  for line in string.gmatch(run.errors or '', '[^\n]+') do
    errors[#errors + 1] = line
  end

  run.id, run.errors, run.status = id, errors, run.status or 'ready'
  return cmsgpack.pack(run)
end
