-- Settling outcomes: those of sealed runs that have succeeded, which are most of them, many at once.
-- include: settling

local outcomes = {}

local claims_read = {} -- what RUNNING has -> what it says, for the node that settles

-- What a sealed run's claim said, if it was this node's.
local function claim_of(node, text)
  local claim = claims_read[text]

  if claim == nil then
    claim = seals.read_claim(text)
    claim = claim and claim.node == node and claim or false
    claims_read[text] = claim

    if claim then
      claim.ending = seals.ending(claim.started_ms)
    end
  end

  return claim
end

-- Those of a group that are sealed and that the node holds: their numbers, claims and keys.
local function held_sealed(node, list)
  local ids, seen = {}, {}
  local numbers, held_by, names, count = {}, {}, {}, 0

  for i = 1, #list / 3 do
    ids[i] = list[3 * i - 2]
  end

  local texts = redis.call('HMGET', keys.RUNNING, unpack(ids))

  for number = 1, #ids do
    local id, token, text = ids[number], list[3 * number - 1], texts[number]
    local claim = text and claim_of(node, text)

    -- Within one claim an id has one token, so that a token of this claim is that of the run, if nobody mixes them up
    -- (see Backend.work): to ask for the token of each costs some 5 % more. An id that comes again is settled the other
    -- way, when this one is done.
    if claim and token >= claim.first and token <= claim.last and not seen[id] then
      count = count + 1
      numbers[count], held_by[count], names[count] = number, claim, keys.run(id)
      seen[id] = true
    end
  end

  return numbers, held_by, names
end

-- What follows from the end of sealed runs of one job.
local function leave(node, job, ids)
  redis.call('HDEL', keys.RUNNING, unpack(ids))
  redis.call('ZREM', keys.held(node), unpack(ids))
  redis.call('SREM', keys.live(job), unpack(ids))
  places.freed[job] = (places.freed[job] or 0) + #ids
  places.end_all('succeeded', ids)
end

-- Whether this is what is stored of a sealed run of the job that was claimed.
local function is_of(claim, text)
  if not text then
    return false
  elseif claim.beginning and string.find(text, claim.beginning, 1, true) == 1 then
    return true
  end

  local job, beginning = seals.job(text)
  claim.beginning = job == claim.job and beginning or claim.beginning
  return job == claim.job
end

-- Ends the sealed runs of a group that has succeeded, without a look into them. Which they were: number -> true.
local function succeed_sealed(node, shared, list)
  local numbers, held_by, names = held_sealed(node, list)
  local done, of_job = {}, {}

  if #numbers == 0 then
    return done
  end

  local texts = redis.call('MGET', unpack(names))
  local ttl_text = clock.digits(math.max(shared[OUTCOME.ttl_ms], SHORTEST_TTL_MS))

  for i = 1, #numbers do
    local number, text, claim = numbers[i], texts[i], held_by[i]
    local at = 3 * number

    -- What is no sealed run any more is left as it is, to be found out below.
    if is_of(claim, text) then
      text = text .. seals.ended(claim.ending, list[at - 1], list[at])
      redis.call('SET', names[i], text, 'PX', ttl_text)
      places.append(of_job, claim.job, list[at - 2])
      done[number] = true
    end
  end

  for job, ids in pairs(of_job) do
    leave(node, job, ids)
  end

  return done
end

-- Settles groups of outcomes. A group is a pair: an array as OUTCOME names its places, of what its outcomes share, and an
-- array of what they do not: run, token, result, run, token, result, ... Whether each of them was settled, in order.
function outcomes.settle(node, groups)
  local settled = {}

  for _, group in ipairs(groups) do
    local shared, list = group[1], group[2]
    local plain = shared[OUTCOME.kind] == 'succeeded' and shared[OUTCOME.error] == ''
    local done = plain and succeed_sealed(node, shared, list) or {}

    for number = 1, #list / 3 do
      local at = 3 * number
      settled[#settled + 1] = done[number] or settling.settle(node, list[at - 2], list[at - 1], list[at], shared)
    end
  end

  return settled
end
