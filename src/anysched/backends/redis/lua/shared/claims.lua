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

-- Notes that a run was claimed. lists: claims.open or claims.sealed.
function claims.hold(id, job, lists)
  local count, token = claims.count, tokens.next()
  claims.held[2 * count + 1], claims.held[2 * count + 2] = tokens.digits(token), id
  claims.count, claims.ids[count + 1] = count + 1, id
  places.append(lists, job, id)

  if places.freed[job] then
    places.freed[job] = places.freed[job] - 1
  end

  if claims.running_of[job] then
    claims.running_of[job] = claims.running_of[job] + 1
  end

  return token
end

-- lazily: claims

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
