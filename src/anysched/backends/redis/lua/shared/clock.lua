-- The one clock: the server's, read once per call. NOW in milliseconds, NOW_US in microseconds; both fit a Lua number
-- exactly. in_order() gives numbers that grow within a call and from call to call.

local CLOCK = redis.call('TIME')
local NOW_US = CLOCK[1] * 1000000 + CLOCK[2]
local NOW = math.floor(NOW_US / 1000)

local moment = NOW_US

local function in_order()
  moment = moment + 1
  return moment
end

-- Lua writes numbers over 14 digits in the short form unless told otherwise. (As an argument of redis.call a number
-- is exact up to 17 digits.)
local function digits(number) return string.format('%.0f', number) end
