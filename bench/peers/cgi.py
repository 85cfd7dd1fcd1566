#!/usr/bin/python3
"""The peer of reads by CGI: reads the data file of kvs with PyYAML, and returns the newest of the keys.

In a folder with the name `python-c` it uses the loader of PyYAML that is written in C, else the one of `yaml.safe_load`.
"""

import os
import sys
import urllib.parse

import yaml

FILE = "../ours/data/default.yaml"
LOADER = yaml.CSafeLoader if os.path.basename(os.getcwd()) == "python-c" else yaml.SafeLoader

query = urllib.parse.parse_qs(os.environ["QUERY_STRING"])
with open(FILE, "rb") as file:
    entries = yaml.load(file, Loader=LOADER)
keys = [key for key in query["k"][0].split(",") if key in entries]
if keys:
    newest = max(keys, key=lambda key: entries[key]["updated"])
    value = str(entries[newest]["value"]).encode()
    head = (
        "Status: 200 OK\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(value)}\r\n"
        "Cache-Control: no-cache\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        'Etag: "dmy1sh23tn8f"\r\n'
        "Last-Modified: Sat, 21 Nov 2026 05:00:00 GMT\r\n"
        f"Kvs-Key: {newest}\r\n"
        "\r\n"
    )
    sys.stdout.buffer.write(head.encode() + value)
else:
    sys.stdout.buffer.write(b"Status: 404 Not Found\r\nContent-Length: 0\r\n\r\n")
