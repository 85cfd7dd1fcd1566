# kvs from MicroPython on an ESP32: plain sockets and HTTP/1.0, nothing to install. It runs with Python 3 as well.
#
# Copy this file to the board; in main.py, once the network is up:
#
#     from kvs import Kvs
#     kvs = Kvs("192.168.1.10", 8080, secret="SECRET")
#     kvs.store({"garden/temp": 12.5, "garden/hum": 71})
#     for value in kvs.watch("garden/valve"):
#         valve.value(value == b"open")
#
# Over REST: kvs.put("garden/pump", "on", 60) stores for one minute, kvs.increment("boots") counts.
#
# A log keeps a history. These readings are sent together, each exactly once, even if an answer is lost:
#
#     readings = kvs.readings("garden/temp", keep=10000)
#     while True:
#         readings.add(sensor.read())
#         time.sleep(60)

import socket
import time

WAIT = 25  # longest wait of a read, in seconds


def quote(text):
    """Writes every byte except letters and digits as %XX."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return "".join(chr(b) if b in plain else "%%%02X" % b for b in str(text).encode())


def exchange(host, port, message, timeout, most=None):
    """Sends a request. Returns the status, the headers (names in lower case) and the body.

    With `most` it stops to read after that many bytes of the answer."""
    connection = socket.socket()
    try:
        connection.settimeout(timeout)
        connection.connect(socket.getaddrinfo(host, port)[0][-1])
        connection.sendall(message)
        answer = b""
        while most is None or len(answer) < most:
            part = connection.recv(1024)
            if not part:
                break
            answer += part
    finally:
        connection.close()
    at = answer.find(b"\r\n\r\n")
    if at < 0:
        raise OSError("the answer broke off")
    head = answer[:at].decode().split("\r\n")
    headers = {}
    for line in head[1:]:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    return int(head[0].split(" ")[1]), headers, answer[at + 4 :]


class Kvs:
    """A kvs endpoint. `path` is the path under which kvs is mounted, with a slash at its end."""

    def __init__(self, host, port=80, path="/", secret=""):
        self.host, self.port, self.path, self.secret = host, port, path, secret

    def request(self, method, query="", body="", kind="application/x-www-form-urlencoded"):
        """Returns the status, the headers (names in lower case) and the body. `query` may begin with a path."""
        lines = [
            "%s %s%s HTTP/1.0" % (method, self.path, query),
            "Host: %s" % self.host,
            "Content-Type: " + kind,
            "Content-Length: %d" % len(body.encode()),
        ]
        if method != "GET":
            lines.append("X-KVS-Auth: " + self.secret)
        message = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
        status, headers, body = exchange(self.host, self.port, message, WAIT + 15)
        if len(body) != int(headers.get("content-length", len(body))):
            raise OSError("the answer broke off")
        return status, headers, body

    def get(self, *keys):
        """Returns the newest value of these keys, or None."""
        status, _, body = self.request("GET", "?k=" + ",".join([quote(key) for key in keys]))
        if status == 404:
            return None
        if status != 200:
            raise OSError(body)
        return body

    def store(self, pairs):
        """Stores all pairs, or none. When it returns, they are on the disk of the server."""
        form = "&".join([quote(key) + "=" + quote(value) for key, value in pairs.items()])
        status, _, body = self.request("POST", body=form)
        if status != 200:
            raise OSError(body)

    def entry(self, key, rest=""):
        """The URL of a key; `?key=` accepts every key."""
        return "kv/default?key=" + quote(key) + rest

    def put(self, key, value, seconds=None):
        """Stores a value. With `seconds` it expires after this time."""
        ttl = "" if seconds is None else "&ttl=%d" % seconds
        status, _, body = self.request("PUT", self.entry(key, ttl), str(value), "text/plain")
        if status not in (200, 201):
            raise OSError(body)

    def increment(self, key, by=1):
        """Adds to a number and returns the new number. Other clients may add at the same time."""
        status, _, body = self.request("POST", self.entry(key, "&op=incr&by=%d" % by))
        if status != 200:
            raise OSError(body)
        return int(body)

    def append(self, key, value, keep=None):
        """Appends to the log of a key and returns the index. With `keep` only that many entries are kept."""
        rest = "" if keep is None else "&keep=%d" % keep
        status, _, body = self.request("POST", "log/default?key=" + quote(key) + rest, str(value), "text/plain")
        if status != 201:
            raise OSError(body)
        return int(body[body.find(b":") + 1 : body.find(b"}")])

    def readings(self, key, keep):
        """Readings of a sensor, which wait here while kvs cannot be reached."""
        return Readings(self, key, keep)

    def watch(self, key):
        """Yields the value (None: there is no such key), and again each time it changes."""
        seen, last = "none", False
        while True:
            value, pause = last, 0
            try:
                query = "?k=%s&wait=%d&seen=%s" % (quote(key), WAIT, quote(seen))
                status, headers, body = self.request("GET", query)
                pause = int(headers.get("retry-after", 0))
                if status == 200:
                    seen, value = headers["etag"], body
                elif status == 404:
                    seen, value = "none", None
                elif status != 304:
                    pause = pause or 2
            except OSError:
                pause = 2  # kvs cannot be reached: try again
            if value != last:
                last = value
                yield value
            time.sleep(pause)


class Readings:
    """Appends numbers to a log. No other program may append to it."""

    def __init__(self, kvs, key, keep):
        self.kvs, self.keep = kvs, keep
        self.log = "log/default?key=" + quote(key)
        self.waiting = []
        self.index = None  # the index in the log that the first waiting reading gets

    def add(self, number):
        """Adds a reading, and sends all that wait. Returns how many wait now, because kvs cannot be reached."""
        self.waiting.append(number)
        del self.waiting[: -self.keep]
        try:
            self.send()
        except OSError:
            pass  # they are sent with the next reading
        return len(self.waiting)

    def end(self):
        """The index that the next entry of the log gets."""
        status, headers, body = self.kvs.request("GET", self.log + "&limit=1")
        if status not in (200, 404):
            raise OSError(body)
        return int(headers.get("kvs-end", 0))

    def send(self):
        if self.index is None:
            self.index = self.end()
        query = "%s&keep=%d&index=%d" % (self.log, self.keep, self.index)
        lines = "\n".join([str(number) for number in self.waiting])
        status, _, body = self.kvs.request("POST", query, lines, "application/x-ndjson")
        if status == 409:
            # The answer to an earlier request was lost, but its readings were stored.
            stored = self.end() - self.index
        elif status == 201:
            stored = len(self.waiting)
        else:
            raise OSError(body)
        self.index += stored
        del self.waiting[:stored]
