-- Claiming what is ready.
-- include: considering
-- include: constants

local claiming = {}

local MOST_PASSED_OVER = 200
local MOST_AT_ONCE = 1000 -- as many as one command takes easily

-- What is stored of runs, if they are sealed.
local function texts_of(ids)
  local names = {}

  for i = 1, #ids do
    names[i] = keys.run(ids[i])
  end

  return redis.call('MGET', unpack(names))
end

-- The jobs of runs that are sealed and that the node knows, false for others; and whether all are such, of jobs without
-- a limit.
local function jobs_of(texts, limits)
  local jobs, all_plain, job, beginning = {}, true, false, nil

  for i = 1, #texts do
    local text = texts[i]

    if not (text and job and string.find(text, beginning, 1, true) == 1) then
      job, beginning = seals.job(text)
      job = job and claims.knows(job) and job or false
      all_plain = all_plain and job and not limits[job]
    end

    jobs[i] = job
  end

  return jobs, all_plain
end

-- Claims the next of a queue, so many at most; how many there were.
local function claim_next(queue, most, limits)
  local ready = keys.ready(queue)
  local ids = redis.call('ZRANGE', ready, 0, most - 1)

  if #ids == 0 then
    return 0
  end

  local texts = texts_of(ids)
  local jobs, all_plain = jobs_of(texts, limits)
  local places_given = not all_plain and redis.call('ZMSCORE', ready, unpack(ids))
  redis.call('ZREMRANGEBYRANK', ready, 0, #ids - 1)
  places.drained[queue] = true

  if all_plain then
    claims.hold_sealed(ids, texts, jobs)
  else
    considering.consider_each(ids, texts, jobs, places_given, queue, limits)
  end

  return #ids
end

-- Claims from one queue; how many more runs may be looked at in this call.
local function claim_from(queue, count, limits, looks)
  while claims.count < count and looks > 0 do
    local seen = claim_next(queue, math.min(count - claims.count, looks, MOST_AT_ONCE), limits)

    if seen == 0 then
      break
    end

    looks = looks - seen
    places.place_all()
  end

  return looks
end

local function open_queues(queues)
  local open = {}

  if #queues == 0 then
    return open
  end

  for i, paused in ipairs(redis.call('SMISMEMBER', keys.PAUSED, unpack(queues))) do
    if paused == 0 then
      open[#open + 1] = queues[i]
    end
  end

  return open
end

-- Puts what was claimed where it belongs.
local function hold_all()
  local last = tokens.newest
  tokens.store()
  claims.first = last - claims.count + 1
  records.in_chunks('ZADD', keys.held(claims.node), claims.held)

  for job, ids in pairs(claims.open) do
    records.in_chunks('SADD', keys.live(job), ids)
  end

  for job, ids in pairs(claims.sealed) do
    local text, list = seals.claim(claims.node, job, claims.first, last), {}
    records.in_chunks('SADD', keys.live(job), ids)

    for i, id in ipairs(ids) do
      list[2 * i - 1], list[2 * i] = id, text
    end

    records.in_chunks('HSET', keys.RUNNING, list)
  end
end

-- Whether the claim was filled.
local function claim_new(claim)
  local count, limits = claim[CLAIM.count], claim[CLAIM.limits]
  local queues = open_queues(claim[CLAIM.queues])
  local looks = count + MOST_PASSED_OVER

  if count == 0 then
    considering.decline(queues)
    return true
  end

  if redis.call('EXISTS', keys.ASIDES) == 1 then
    considering.bring_back(queues, limits)
  end

  for _, queue in ipairs(queues) do
    if claims.count >= count then
      break
    end

    looks = claim_from(queue, count, limits, looks)
  end

  if claims.count > 0 then
    hold_all()
  end

  return claims.count >= count or looks <= 0
end

-- Tokens are given in order, so that the first and the last stand for all.
local function remember_claim(slot, number, filled)
  local memo = cmsgpack.pack({filled, claims.first, claims.first + claims.count - 1, claims.ids})
  redis.call('HSET', keys.node(claims.node), 'number' .. slot, number, 'claim' .. slot, memo)
end

-- Claims anew only with a number greater than the last in its slot, which never falls: whatever was claimed once is
-- known again or too late. Whether it was filled; nil if it is too late.
local function claim_once(claim, slot, last)
  local number = claim[CLAIM.number]

  if number == last then
    return considering.claim_again(slot)
  elseif number < last then
    return nil
  end

  local filled = claim_new(claim)
  remember_claim(slot, number, filled)
  return filled
end

-- Answers a claim (nil: none) of a node: whether the node is known, whether the claim was filled (nil: it came too late),
-- and when to look again.
function claiming.answer(who, claim)
  local slot = claim and claim[CLAIM.number] % CLAIMS_REMEMBERED
  local numbered = claim and 'number' .. slot
  local known = records.pick(keys.node(who), {'lost', 'ttl_ms', 'hungry', numbered})

  if not known or not known.ttl_ms or known.lost then
    return false, false, 0
  elseif not claim then
    return true, false, 0
  end

  claims.node = who
  local filled = claim_once(claim, slot, records.whole(known[numbered]) or -1)
  local next_due_ms = 0
  places.place_all()

  if filled ~= nil and known.hungry then
    hints.satisfy(who)
  end

  if filled then
    nodes.pass_on_watch(who)
  elseif filled == false then
    considering.be_hungry(claim)
    next_due_ms = nodes.next_look(who)
  end

  return true, filled, next_due_ms
end
