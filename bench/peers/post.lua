-- Writes for wrk: `wrk -s post.lua URL -- SERVER SECRET KEYS` stores short values under 1,000 keys, spread evenly over a
-- store of KEYS keys. SERVER is kvs, webdis or etcd. All requests are made before the load begins, so wrk only sends them.

local REQUESTS = 4000
local requests = {}
local last = 0

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local bits = text:gsub(".", function(character)
    local byte, digits = character:byte(), ""
    for place = 7, 0, -1 do
      digits = digits .. math.floor(byte / 2 ^ place) % 2
    end
    return digits
  end)
  bits = bits .. ("0"):rep(-#bits % 6)
  local coded = bits:gsub("%d%d%d%d%d%d", function(six)
    local at = tonumber(six, 2) + 1
    return alphabet:sub(at, at)
  end)
  return coded .. ("="):rep(-#coded % 4)
end

local function post(path, content_type, body)
  return "POST " .. path .. " HTTP/1.1\r\nHost: kvs.test\r\nContent-Type: " .. content_type ..
    "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local servers = {
  kvs = function(key, value, secret)
    return post("/", "application/x-www-form-urlencoded", "auth=" .. secret .. "&" .. key .. "=" .. value)
  end,
  webdis = function(key, value)
    return post("/", "application/x-www-form-urlencoded", "SET/" .. key:gsub("/", "%%2F") .. "/" .. value)
  end,
  etcd = function(key, value)
    local body = '{"key":"' .. base64(key) .. '","value":"' .. base64(value) .. '"}'
    return post("/v3/kv/put", "application/json", body)
  end,
}

function init(arguments)
  local server, secret, keys = servers[arguments[1]], arguments[2], tonumber(arguments[3])
  for n = 0, REQUESTS - 1 do
    local number = (n % 1000) * math.floor(keys / 1000)
    local key = string.format("house/%04d/sensor-%07d", number % 5000, number)
    requests[n + 1] = server(key, string.format("%02d.%d", (n + math.floor(n / 1000)) % 40, n % 10), secret)
  end
end

function request()
  last = last % REQUESTS + 1
  return requests[last]
end

function done(summary, latency)
  io.write(string.format("p99.9: %d us\n", latency:percentile(99.9)))
end
