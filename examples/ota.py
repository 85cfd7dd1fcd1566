# An update over the air: a board with MicroPython downloads its firmware from kvs. It runs with Python 3 as well.
#
# Publish a firmware image, which may be larger than the memory of the board and of the server (KVS_MAX_VALUE=16MiB):
#
#     curl -X PUT -H 'X-KVS-Auth: SECRET' -H 'Content-Type: application/octet-stream' \
#         -T firmware.bin http://192.168.1.10:8080/kv/firmware/esp32
#
# Copy this file and kvs.py to the board. In main.py, once the network is up:
#
#     import esp32, machine
#     from ota import Firmware
#
#     firmware = Firmware("192.168.1.10", 8080, "firmware/esp32")
#     if firmware.version != installed:                 # keep the version in a file or in NVS
#         partition = esp32.Partition(esp32.Partition.RUNNING).get_next_update()
#         firmware.download(lambda number, block: partition.writeblocks(number, block))
#         partition.set_boot()
#         machine.reset()
#
# Each block is a request of its own with `Range`. If the network fails, only one block is requested again. `If-Range`
# makes sure that all blocks are of the same version. At the end the hash of the whole image is compared.

import binascii
import hashlib
import time

from kvs import exchange

BLOCK = 4096  # the size of a block of flash memory, in bytes
ATTEMPTS = 10  # for each block


class Changed(Exception):
    """Another firmware was published during the download, or the hash is wrong. Begin again."""


class Firmware:
    """The firmware under `name`, which is BUCKET/KEY."""

    def __init__(self, host, port, name, path="/"):
        self.host, self.port, self.path = host, port, path + "kv/" + name
        status, headers, _ = self.request("HEAD", [])
        if status != 200:
            raise OSError("there is no firmware %s: status %d" % (name, status))
        self.version = headers["etag"]
        self.size = int(headers["content-length"])
        self.digest = headers.get("repr-digest") or headers.get("content-digest")

    def request(self, method, lines):
        """Returns the status, the headers (names in lower case) and the body, which is at most a block."""
        head = ["%s %s HTTP/1.0" % (method, self.path), "Host: " + self.host] + lines
        return exchange(self.host, self.port, ("\r\n".join(head) + "\r\n\r\n").encode(), 15, BLOCK + 4096)

    def part(self, begin, end):
        """The bytes from `begin` up to `end`, which is not included."""
        lines = ["Range: bytes=%d-%d" % (begin, end - 1), "If-Range: " + self.version]
        for attempt in range(ATTEMPTS):
            time.sleep(attempt)
            try:
                status, _, body = self.request("GET", lines)
            except OSError:
                continue  # the network failed: try again
            if status in (200, 404, 416):
                raise Changed("another firmware was published")
            if status == 206 and len(body) == end - begin:
                return body
        raise OSError("kvs cannot be reached")

    def download(self, write):
        """Calls `write(number, block)` for each block. The last one is filled up with 0xff."""
        digest = hashlib.sha256()
        for number in range((self.size + BLOCK - 1) // BLOCK):
            begin = number * BLOCK
            block = self.part(begin, min(begin + BLOCK, self.size))
            digest.update(block)
            write(number, block + b"\xff" * (BLOCK - len(block)))
        found = "sha-256=:%s:" % binascii.b2a_base64(digest.digest()).decode().strip()
        if self.digest and found != self.digest:
            raise Changed("the hash is %s and not %s" % (found, self.digest))
