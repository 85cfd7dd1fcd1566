#!/usr/bin/env python3
"""kvs over REST from Python, with the standard library only.

    rest.py URL get KEY                   print the value
    rest.py URL put KEY VALUE [SECONDS]   store it; with SECONDS it expires after this time
    rest.py URL delete KEY
    rest.py URL incr KEY [BY]             count, and print the new number
    rest.py URL add KEY BY                the same by reading and writing, which works for any change of a value
    rest.py URL many KEY...               print the keys that exist, as JSON
    rest.py URL move FROM TO AMOUNT       subtract from one number and add to another: both, or neither
    rest.py URL watch KEY                 print the value, then each new one, until interrupted

The secret is in the environment variable KVS_SECRET.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

WAIT = 25  # longest wait of a read, in seconds


class Bucket:
    """The keys of one bucket. `url` is the URL of kvs, with a slash at its end."""

    def __init__(self, url, secret="", bucket="default"):
        self.url, self.secret, self.bucket = url, secret, bucket

    def ask(self, method, path, body=None, **headers):
        """Returns the status, the headers and the body of the response."""
        if body is not None or method != "GET":
            headers["X-KVS-Auth"] = self.secret
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT + 15) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def entry(self, key, **query):
        """`?key=` accepts every key, also one with two slashes in a row."""
        return f"kv/{self.bucket}?" + urllib.parse.urlencode({"key": key, **query})

    def done(self, answer, *others):
        """Returns the response if it is a success or has one of the other statuses; else raises."""
        status, _, body = answer
        if status // 100 != 2 and status not in others:
            raise RuntimeError(f"{status} {body.decode().strip()}")
        return answer

    def get(self, key):
        """Returns the value and its ETag; None and None if there is no such key."""
        status, headers, body = self.done(self.ask("GET", self.entry(key)), 404)
        return (None, None) if status == 404 else (body, headers["ETag"])

    def put(self, key, value, seconds=None):
        """Stores a value. With `seconds` it expires after this time."""
        query = {} if seconds is None else {"ttl": seconds}
        self.done(self.ask("PUT", self.entry(key, **query), value, Content_Type="text/plain"))

    def delete(self, key):
        self.done(self.ask("DELETE", self.entry(key)))

    def increment(self, key, by=1):
        return int(self.done(self.ask("POST", self.entry(key, op="incr", by=by), b""))[2])

    def update(self, key, change):
        """Stores change(value) if nobody else has written since the value was read; else tries again."""
        while True:
            value, tag = self.get(key)
            guard = {"If_None_Match": "*"} if tag is None else {"If_Match": tag}
            new = change(value)
            put = self.ask("PUT", self.entry(key), new, Content_Type="text/plain", **guard)
            if self.done(put, 412)[0] != 412:
                return new

    def get_many(self, *keys):
        """Returns the keys that exist, with their values."""
        return json.loads(self.json("POST", "multi/", list(keys))[2])

    def put_many(self, pairs):
        """Stores all pairs."""
        self.json("PUT", "multi/", [{"key": key, "data": value} for key, value in pairs.items()])

    def move(self, source, target, amount):
        """Subtracts from one number and adds to another: both, or neither."""
        while True:
            value, tag = self.get(source)
            if int(value or 0) < amount:
                raise RuntimeError(f"there is not enough in {source}")
            # The check makes sure that the amount is still there.
            checks = [{"key": source, "revision": tag}]
            steps = [{"op": "incr", "key": source, "by": -amount}, {"op": "incr", "key": target, "by": amount}]
            if self.json("POST", "txn/", {"checks": checks, "ops": steps}, 409)[0] != 409:
                return

    def json(self, method, path, body, *others):
        body = json.dumps(body).encode()
        return self.done(self.ask(method, path + self.bucket, body, Content_Type="application/json"), *others)

    def watch(self, key):
        """Yields the value (None: there is no such key), and again each time it changes."""
        tag, last = None, False
        while True:
            value, pause = last, 0
            try:
                seen = {"seen": "none"} if tag is None else {}
                guard = {} if tag is None else {"If_None_Match": tag}
                status, headers, body = self.ask("GET", self.entry(key, **seen), Prefer=f"wait={WAIT}", **guard)
                pause = int(headers.get("Retry-After", 0))
                if status == 200:
                    tag, value = headers["ETag"], body
                elif status == 404:
                    tag, value = None, None
                elif status != 304:
                    pause = pause or 2
            except OSError:
                pause = 2  # kvs cannot be reached: try again
            if value != last:
                last = value
                yield value
            time.sleep(pause)


def main(arguments):
    if len(arguments) < 3:
        sys.exit(__doc__)
    url, command, key, *rest = arguments
    bucket = Bucket(url, os.environ.get("KVS_SECRET", ""), os.environ.get("KVS_BUCKET", "default"))
    if command == "get":
        value, _ = bucket.get(key)
        sys.exit("no such key") if value is None else print(value.decode())
    elif command == "put":
        bucket.put(key, rest[0].encode(), *rest[1:])
    elif command == "delete":
        bucket.delete(key)
    elif command == "incr":
        print(bucket.increment(key, *rest))
    elif command == "add":
        print(bucket.update(key, lambda value: b"%d" % (int(value or 0) + int(rest[0]))).decode())
    elif command == "many":
        print(json.dumps(bucket.get_many(key, *rest), separators=(",", ":")))
    elif command == "move":
        bucket.move(key, rest[0], int(rest[1]))
    elif command == "watch":
        for value in bucket.watch(key):
            print("(nothing)" if value is None else value.decode(errors="replace"), flush=True)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
