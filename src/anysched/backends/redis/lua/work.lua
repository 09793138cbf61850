-- Settle outcomes and claim what is next.
--
-- KEYS[1]  the prefix
-- ARGV[1]  the node
-- ARGV[2]  outcomes: msgpack, an array of groups (see shared/outcomes.lua), of at most 1,000 outcomes each
-- ARGV[3]  the claim: msgpack, an array as CLAIM names its places; empty: none
--
-- Returns  {a head; a ClaimedRun ...}, each as msgpack. The head is a WorkReply but for its runs, and with first_token and
--          sealed: for each run its id if that is not in it, nor a token, of which the first run has the first
--
-- include: relief
-- include: outcomes
-- include: claiming

local node = ARGV[1]
local settled = outcomes.settle(node, cmsgpack.unpack(ARGV[2]))
places.place_all()
nodes.tidy(node)
places.place_all()
local known, filled, next_due_ms = claiming.answer(node, ARGV[3] ~= '' and cmsgpack.unpack(ARGV[3]) or nil)
places.conclude()

claims.reply[1] = cmsgpack.pack({
  now_ms = clock.NOW, settled = settled, known = known, more = filled ~= false, next_due_ms = next_due_ms,
  corrupt = records.corrupt, lost = nodes.lost, expired = nodes.expired, first_token = claims.first,
  sealed = claims.told,
})

return claims.reply
