#!/usr/bin/env python3
"""Tries kvs on a real Citus cluster: one coordinator, three workers and one plain PostgreSQL, all on this machine.

    trial.py BIN puts    the puts per second of 64 clients into 64 buckets, on Citus and on the plain PostgreSQL
    trial.py BIN kill    kills a worker under 32 writers that count up in 32 buckets, and starts it again after 12 s

BIN is the folder with initdb and pg_ctl of a PostgreSQL that has Citus, such as /usr/lib/postgresql/16/bin. Run it as the
user who shall run PostgreSQL, not as root. It needs psql, and for `puts` wrk. KVS names the program (target/release/kvs).
"""

import collections
import http.client
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

SECRET = "trial"
WORKERS = 3
COORDINATOR, PLAIN = 0, WORKERS + 1
HEADERS = {"Authorization": f"Bearer {SECRET}"}
PUTS = f"""
local n, id = 0, 0
function setup(thread) thread:set("id", id); id = id + 1 end
function request()
  n = n + 1
  return wrk.format("PUT", "/kv/b" .. (n * 7 + id * 31) % 64 .. "/k" .. n % 16, {{Authorization = "Bearer {SECRET}"}}, "v" .. n)
end
"""


class Cluster:
    def __init__(self, bin_folder, folder, first_port):
        self.bin, self.folder, self.first_port = pathlib.Path(bin_folder), pathlib.Path(folder), first_port
        for node in range(PLAIN + 1):
            data = self.data(node)
            self.run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8")
            settings = ["listen_addresses='127.0.0.1'", f"unix_socket_directories='{folder}'", "max_connections=300"]
            settings += [f"port={self.port(node)}"]
            if node != PLAIN:
                settings += ["shared_preload_libraries=citus", "max_prepared_transactions=300"]
            with open(data / "postgresql.conf", "a") as file:
                file.write("\n".join(settings) + "\n")
            self.start(node)
            if node != PLAIN:
                self.sql(node, "CREATE EXTENSION citus")
        self.sql(COORDINATOR, f"SELECT citus_set_coordinator_host('127.0.0.1', {self.port(COORDINATOR)})")
        for node in range(1, WORKERS + 1):
            self.sql(COORDINATOR, f"SELECT citus_add_node('127.0.0.1', {self.port(node)})")

    def data(self, node):
        return self.folder / f"node{node}"

    def port(self, node):
        return self.first_port + node

    def url(self, node):
        return f"postgresql://postgres@127.0.0.1:{self.port(node)}/postgres"

    def run(self, program, *arguments):
        subprocess.run([self.bin / program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)

    def start(self, node):
        self.run("pg_ctl", "-D", self.data(node), "-l", self.folder / f"node{node}.log", "-w", "start")

    def sql(self, node, statement):
        psql = ["psql", "-h", "127.0.0.1", "-p", str(self.port(node)), "-U", "postgres", "-XAtqc", statement]
        return subprocess.run(psql, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def kill(self, node):
        """SIGKILL of all processes of a node, as when its machine dies."""
        leader = int((self.data(node) / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(leader)], stdout=subprocess.PIPE, text=True).stdout.split()
        for process in [leader, *map(int, children)]:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        (self.data(node) / "postmaster.pid").unlink()

    def stop(self):
        for node in range(PLAIN + 1):
            subprocess.run([self.bin / "pg_ctl", "-D", self.data(node), "-m", "immediate", "stop"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Kvs:
    def __init__(self, cluster, node, port):
        program = os.environ.get("KVS", "target/release/kvs")
        self.port, url = port, cluster.url(node)
        auth = cluster.folder / "auth.txt"
        auth.touch(mode=0o600)
        auth.write_text(SECRET + "\n")
        distributed = ["--distributed"] if node == COORDINATOR else []
        subprocess.run([program, "store", "init", "--quiet", "--store", url, *distributed], check=True)
        serve = [program, "serve", "--http", f"127.0.0.1:{port}", "--store", url, "--auth", auth]
        self.process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=open(cluster.folder / "kvs.log", "a"))
        self.process.stdout.readline()

    def stop(self):
        self.process.terminate()
        self.process.wait()


def puts(cluster, servers):
    script = cluster.folder / "puts.lua"
    script.write_text(PUTS)
    for _ in range(3):
        figures = []
        for server in servers:
            wrk = ["wrk", "-t2", "-c64", "-d8", "-s", script, f"http://127.0.0.1:{server.port}"]
            output = subprocess.run(wrk, check=True, stdout=subprocess.PIPE, text=True).stdout
            if "Non-2xx" in output:
                print(output)
            figures.append(float(output.split("Requests/sec:")[1].split()[0]))
        print(f"Citus {figures[0]:.0f}/s, plain {figures[1]:.0f}/s, ratio {figures[0] / figures[1]:.3f}")


def kill(cluster, server):
    buckets = [f"b{n}" for n in range(32)]
    shard = "get_shard_id_for_distribution_column('kvs_buckets', '{}')"
    node = "SELECT nodeport FROM citus_shards WHERE shardid = " + shard
    port_of = {bucket: int(cluster.sql(COORDINATOR, node.format(bucket))) for bucket in buckets}
    killed = 1
    results, acknowledged, stopped = [], {}, threading.Event()

    def write(bucket):
        connection, n = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120), 0
        while not stopped.is_set():
            n, begun = n + 1, time.monotonic()
            connection.request("PUT", f"/kv/{bucket}/n", body=str(n), headers=HEADERS)
            response = connection.getresponse()
            text = response.read().decode().strip()
            results.append((begun, time.monotonic() - begun, bucket, response.status, text))
            if response.status in (200, 201):
                acknowledged[bucket] = n
            else:
                time.sleep(0.05)

    writers = [threading.Thread(target=write, args=(bucket,)) for bucket in buckets]
    times = []
    for writer in writers:
        writer.start()
    for pause, then in [(6, lambda: cluster.kill(killed)), (12, lambda: cluster.start(killed)), (8, stopped.set)]:
        times.append(time.monotonic())
        time.sleep(pause)
        then()
    times.append(time.monotonic())
    for writer in writers:
        writer.join()
    for phase, begin, end in zip(["before", "worker down", "worker back"], times, times[1:]):
        for whose in ["of the worker", "of the others"]:
            mine = [r for r in results if begin <= r[0] < end
                    and (port_of[r[2]] == cluster.port(killed)) == (whose == "of the worker")]
            status = dict(collections.Counter(r[3] for r in mine))
            done = sum(r[3] in (200, 201) for r in mine) / (end - begin)
            print(f"{phase}, buckets {whose}: {done:.0f}/s, {status}, longest {max(r[1] for r in mine):.2f} s")
    for (status, text), count in collections.Counter(r[3:] for r in results if r[3] not in (200, 201)).items():
        print(f"{count} x {status}: {text}")
    connection, lost = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120), 0
    for bucket, n in acknowledged.items():
        connection.request("GET", f"/kv/{bucket}/n")
        lost += int(connection.getresponse().read()) < n
    print(f"acknowledged writes lost: {lost} of {len(acknowledged)} keys")
    return lost == 0


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in ("puts", "kill"):
        sys.exit(__doc__)
    _, bin_folder, what = sys.argv
    first_port = int(os.environ.get("FIRST_PORT", "25100"))
    with tempfile.TemporaryDirectory(prefix="kvs-citus-") as folder:
        cluster, servers = None, []
        try:
            cluster = Cluster(bin_folder, folder, first_port)
            servers.append(Kvs(cluster, COORDINATOR, first_port + 10))
            if what == "kill":
                sys.exit(0 if kill(cluster, servers[0]) else 1)
            servers.append(Kvs(cluster, PLAIN, first_port + 11))
            puts(cluster, servers)
        finally:
            for server in servers:
                server.stop()
            if cluster:
                cluster.stop()


main()
