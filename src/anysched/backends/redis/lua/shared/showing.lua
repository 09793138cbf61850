-- Records as they are told to Python.
-- include: records

-- A run as msgpack, an object as RunRecord names its fields (numbers may be texts); with a reason if corrupt: an
-- object {id, corrupt}; nil if there is none.
local function show_run(id)
  local run, reason = read(run_key(id))

  if reason then
    return cmsgpack.pack({id = id, corrupt = reason})
  end

  if not run then
    return nil
  end

  if run.version and run.version ~= '1' then
    return cmsgpack.pack({id = id, corrupt = 'version ' .. run.version .. ' is not known here'})
  end

  local errors = {}

  for line in string.gmatch(run.errors or '', '[^\n]+') do
    errors[#errors + 1] = line
  end

  run.id, run.errors, run.status = id, errors, run.status or 'ready'
  return cmsgpack.pack(run)
end
