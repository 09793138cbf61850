-- The one clock: the server's, read once per call. NOW in milliseconds, NOW_US in microseconds; both fit a Lua number
-- exactly. in_order() gives numbers that grow within a call and from call to call.
-- include: instant

local clock = {NOW = tonumber(NOW_TEXT), NOW_TEXT = NOW_TEXT, NOW_US = TIME[1] * 1000000 + TIME[2]}

clock.moment = clock.NOW_US

function clock.in_order()
  clock.moment = clock.moment + 1
  return clock.moment
end

-- Lua writes numbers over 14 digits in the short form unless told otherwise. (As an argument of redis.call a number
-- is exact up to 17 digits, but that costs twice as much as a text.)
function clock.digits(number) return string.format('%.0f', number) end
