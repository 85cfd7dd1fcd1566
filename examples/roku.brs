' kvs from a Roku channel: reading, storing, and waiting for a change.
'
' Call these from a Task node: they wait for the network, and the render thread must not do that. `base` is the URL of
' kvs with a slash at its end, such as "https://example.org/kvs/".

' Returns the newest value of these keys, or invalid if there is none or kvs cannot be reached.
function kvsGet(base as string, keys as object) as dynamic
    answer = kvsAsk(base + "?k=" + kvsTransfer().Escape(keys.Join(",")), 20)
    if answer.code <> 200 then return invalid
    return answer.body
end function

' Stores all pairs of an associative array, or none. Returns true when they are on the disk of the server.
' Call SetModeCaseSensitive() on the array, or its keys become lower case.
function kvsStore(base as string, secret as string, pairs as object) as boolean
    http = kvsTransfer()
    http.SetUrl(base)
    http.AddHeader("X-KVS-Auth", secret)
    http.AddHeader("Content-Type", "application/x-www-form-urlencoded")
    form = []
    for each key in pairs
        form.Push(http.Escape(key) + "=" + http.Escape(pairs[key]))
    end for
    return http.PostFromString(form.Join("&")) = 200
end function

' Stores a text that expires after so many seconds (0: never). Returns true when it is on the disk of the server.
function kvsPut(base as string, secret as string, key as string, value as string, seconds as integer) as boolean
    http = kvsTransfer()
    url = base + "kv/default?key=" + http.Escape(key)
    if seconds > 0 then url = url + "&ttl=" + seconds.ToStr()
    http.SetUrl(url)
    http.SetRequest("PUT")
    http.AddHeader("X-KVS-Auth", secret)
    http.AddHeader("Content-Type", "text/plain; charset=utf-8")
    code = http.PostFromString(value)
    return code = 200 or code = 201
end function

' Adds to a number; other clients may add at the same time. Returns the new number, or invalid if it was not changed.
function kvsIncrement(base as string, secret as string, key as string, by as integer) as dynamic
    port = CreateObject("roMessagePort")
    http = kvsTransfer()
    http.SetUrl(base + "kv/default?key=" + http.Escape(key) + "&op=incr&by=" + by.ToStr())
    http.AddHeader("X-KVS-Auth", secret)
    http.AddHeader("Content-Type", "text/plain")
    http.SetMessagePort(port)
    if not http.AsyncPostFromString("") then return invalid
    event = Wait(20000, port)
    if type(event) <> "roUrlEvent" then
        http.AsyncCancel()
        return invalid
    end if
    if event.GetResponseCode() <> 200 then return invalid
    return event.GetString().ToInt()
end function

' Sets a field of a node to the value of a key, now and each time it changes. Never returns.
sub kvsWatch(base as string, key as string, node as object, field as string)
    seen = "none"
    while true
        http = kvsTransfer()
        answer = kvsAsk(base + "?k=" + http.Escape(key) + "&wait=25&seen=" + http.Escape(seen), 40)
        if answer.code = 200 then
            seen = answer.tag
            node.SetField(field, answer.body)
        else if answer.code = 404 then
            seen = "none"
        else if answer.code <> 304 then
            ' kvs cannot be reached, or restarts.
            Sleep(2000)
        end if
        if answer.pause > 0 then Sleep(answer.pause * 1000)
    end while
end sub

function kvsTransfer() as object
    http = CreateObject("roUrlTransfer")
    http.SetCertificatesFile("common:/certs/ca-bundle.crt")
    http.InitClientCertificates()
    return http
end function

function kvsAsk(url as string, seconds as integer) as object
    answer = { code: 0, body: "", tag: "none", pause: 0 }
    port = CreateObject("roMessagePort")
    http = kvsTransfer()
    http.SetUrl(url)
    http.SetMessagePort(port)
    if not http.AsyncGetToString() then return answer
    event = Wait(seconds * 1000, port)
    if type(event) <> "roUrlEvent" then
        http.AsyncCancel()
        return answer
    end if
    answer.code = event.GetResponseCode()
    answer.body = event.GetString()
    headers = event.GetResponseHeaders()
    if headers <> invalid then
        for each name in headers
            if LCase(name) = "etag" then answer.tag = headers[name]
            if LCase(name) = "retry-after" then answer.pause = Val(headers[name], 10)
        end for
    end if
    return answer
end function
