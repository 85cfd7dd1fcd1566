#!/usr/bin/env python3
"""kvs from Python, with the standard library only.

    poll.py URL KEY           print the value, then each new one, until interrupted
    poll.py URL KEY=VALUE     store, with the secret in the environment variable KVS_SECRET
"""

import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

WAIT = 25  # longest wait of a read, in seconds


def store(url, secret, **pairs):
    """Stores all pairs, or none."""
    body = urllib.parse.urlencode(pairs).encode()
    request = urllib.request.Request(url, body, {"X-KVS-Auth": secret})
    with urllib.request.urlopen(request, timeout=WAIT) as answer:
        return answer.read().decode()


def watch(url, *keys):
    """Yields the newest value of these keys (None: there is none), and again each time it changes."""
    seen, last = "none", False
    while True:
        query = urllib.parse.urlencode({"k": ",".join(keys), "wait": WAIT, "seen": seen})
        pause, value = 0, last
        try:
            with urllib.request.urlopen(f"{url}?{query}", timeout=WAIT + 15) as answer:
                seen, value = answer.headers["ETag"], answer.read()
                pause = int(answer.headers.get("Retry-After", 0))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                seen, value = "none", None
            elif error.code != 304:
                pause = 2
            pause = int(error.headers.get("Retry-After", pause))
        except OSError:
            pause = 2  # kvs cannot be reached: try again
        if value is not last and value != last:
            last = value
            yield value
        time.sleep(pause)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    url, what = sys.argv[1:]
    if "=" in what:
        key, value = what.split("=", 1)
        print(store(url, os.environ["KVS_SECRET"], **{key: value}))
        return
    for value in watch(url, what):
        print("(nothing)" if value is None else value.decode(errors="replace"), flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
