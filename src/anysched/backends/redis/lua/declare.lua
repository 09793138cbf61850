-- Reconcile what a program declares with what is stored.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the program
-- ARGV[2]  entries: msgpack, an array of arrays as ENTRY names their places
-- ARGV[3]  for how many milliseconds that is remembered
--
-- Returns  for each entry "added", "kept", "moved" or "foreign"
--
-- include: rules
-- include: programs

local function declare(new)
  local known = rules.find(new[ENTRY.id])

  if not known then
    rules.add(new, true)
    return 'added'
  end

  if known.declared ~= '1' then
    return 'foreign'
  end

  if known.revision ~= new[ENTRY.revision] then
    rules.change(new, true, known)
    return 'moved'
  end

  return rules.come_back(new, known) and 'added' or 'kept'
end

local entries = cmsgpack.unpack(ARGV[2])
local ids, answers = {}, {}

for i, new in ipairs(entries) do
  ids[i] = new[ENTRY.id]
end

programs.forget_old()
programs.remember(ARGV[1], ids, tonumber(ARGV[3]))

for i, new in ipairs(entries) do
  answers[i] = declare(new)
end

return answers
