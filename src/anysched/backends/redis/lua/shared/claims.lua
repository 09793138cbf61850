-- What a claim has come to so far.
-- include: nodes
-- include: tokens

local claims = {
  node = '',       -- who claims
  ids = {},        -- what was claimed now
  count = 0,       -- of these
  first = 0,       -- the token of the first; each that follows has one more
  held = {},       -- token, id, token, id, ...
  open = {},       -- job -> open runs among them
  sealed = {},     -- job -> sealed ones
  reply = {''},    -- its head, and what it says of each run
  told = {},       -- for each of these: its id if it is told as it is stored, else empty
  running_of = {}, -- job -> how many are running
  known_jobs = {}, -- job -> whether the node knows it
}

-- Whether the node knows a job.
function claims.knows(job)
  local known = claims.known_jobs[job]

  if known == nil then
    known = redis.call('SISMEMBER', keys.jobs(claims.node), job) == 1
    claims.known_jobs[job] = known
  end

  return known
end

-- Notes that so many more of a job are running.
local function fill_slots(job, count)
  if not job then
    return
  end

  if places.freed[job] then
    places.freed[job] = places.freed[job] - count
  end

  if claims.running_of[job] then
    claims.running_of[job] = claims.running_of[job] + count
  end
end

-- Notes that sealed runs were claimed. texts: what is stored of them.
function claims.hold_sealed(ids, texts, jobs)
  local held, known, told, reply = claims.held, claims.ids, claims.told, claims.reply
  local count, before = claims.count, tokens.take(#ids) - 1
  local job, of_job, first = nil, nil, 1

  for i = 1, #ids do
    local id, place = ids[i], count + i
    held[2 * place - 1], held[2 * place] = tokens.digits(before + i), id
    known[place], told[place], reply[place + 1] = id, id, texts[i]

    if jobs[i] ~= job then
      fill_slots(job, i - first)
      job, first = jobs[i], i
      of_job = places.list_of(claims.sealed, job)
    end

    of_job[#of_job + 1] = id
  end

  fill_slots(job, #ids + 1 - first)
  claims.count = count + #ids
end

-- lazily: claims

-- Notes that an open run was claimed; its token.
function claims.hold(id, job)
  local count, token = claims.count, tokens.next()
  claims.held[2 * count + 1], claims.held[2 * count + 2] = tokens.digits(token), id
  claims.count, claims.ids[count + 1] = count + 1, id
  places.append(claims.open, job, id)
  fill_slots(job, 1)
  return token
end

-- How many of a job are running. One that does not run any more (its record was lost) gives its slot back.
function claims.count_running(job)
  if not claims.running_of[job] then
    local one = redis.call('SRANDMEMBER', keys.live(job))

    if one and not records.is_running(one) then
      redis.call('SREM', keys.live(job), one)
    end

    claims.running_of[job] = redis.call('SCARD', keys.live(job))
  end

  return claims.running_of[job]
end

-- Adds an open run to the reply.
function claims.tell(id, run)
  run.id, run.errors, run.result = id, nil, nil
  local place = #claims.told + 1
  claims.told[place], claims.reply[place + 1] = '', cmsgpack.pack(run)
end
