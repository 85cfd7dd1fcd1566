-- Reads for wrk: `wrk -s get.lua URL -- KEYS` reads 1,000 keys, spread evenly over a store of KEYS keys, in turn.

local requests = {}
local last = 0

function init(arguments)
  local keys = tonumber(arguments[1])
  for n = 0, 999 do
    local number = n * math.floor(keys / 1000)
    local key = string.format("house/%04d/sensor-%07d", number % 5000, number)
    requests[n + 1] = "GET /?k=" .. key .. " HTTP/1.1\r\nHost: kvs.test\r\n\r\n"
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
