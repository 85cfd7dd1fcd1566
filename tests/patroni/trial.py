#!/usr/bin/python3
"""Runs kvs on a private cluster of Patroni and makes it fail in several ways. docs/patroni.md has the results.

    trial.py [--kvs PROGRAM] [--loop-wait N] [--nodes N] [--url '&PARAMETER=VALUE'] SCENARIO...

Several scenarios run one after another on the same cluster:

    crash            kill -9 of the first process of PostgreSQL on the primary
    node             kill -9 of all processes of the primary's node; 2 s after the failover they start again
    node-restart     the same, but they start again at once
    switch           patronictl switchover
    standby          kill -9 of all processes of the standby's node
    standby-frozen   SIGSTOP of all processes of the standby's node
    both             kill -9 of the nodes of the primary and of the synchronous standby; use three nodes
    patroni          kill -9 of Patroni alone on the primary; it starts again 40 s after the standby was promoted
    patroni-restart  the same, but it starts again at once
    frozen           SIGSTOP of all processes of the primary's node
    vanish           the network drops all packets of the primary's node; needs root and --netns
    etcd             etcd is stopped for 40 s
    strict-standby   synchronous_mode_strict is set, and no standby is left
    commands         the commands of docs/patroni.md

With two nodes, synchronous_mode_strict is false, as docs/patroni.md says. Everything but kvs runs as `nobody` if this is
started as root, in a temporary folder. Let it end: if it is killed, the processes remain.
"""
import argparse, glob, http.client, os, pathlib, shutil, signal, socket, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))[-1]
ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
# A node in a network of its own, so that its packets can be dropped.
NETNS = ["ip netns add kvs-trial", "ip link add kvs-t1 type veth peer name kvs-t2 netns kvs-trial",
         "ip addr add 10.99.77.1/24 dev kvs-t1", "ip link set kvs-t1 up",
         "ip -n kvs-trial addr add 10.99.77.2/24 dev kvs-t2", "ip -n kvs-trial link set kvs-t2 up",
         "ip -n kvs-trial link set lo up"]
DROP = "ip -n kvs-trial route {} blackhole 10.99.77.1/32"
SECRET = "secret-of-the-trial"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(args, log):
    is_root = os.geteuid() == 0 and args[0] != "ip"
    who = {"user": 65534, "group": 65534, "extra_groups": []} if is_root else {}
    with open(log, "ab") as file:
        return subprocess.Popen(args, cwd="/", env=ENV, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **who)


def children(pid):
    try:
        return [int(p) for p in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


def tree(pid):
    found = [pid]
    for child in children(pid):
        found += tree(child)
    return found


def send(pids, sig):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


class Node:
    def __init__(self, cluster, n):
        self.cluster, self.name = cluster, f"db{n}"
        self.folder = cluster.folder / self.name
        self.folder.mkdir()
        self.port, self.rest = free_port(), free_port()
        self.address = cluster.address
        self.prefix = []
        if cluster.args.netns and n == 1:
            self.address = "10.99.77.2"
            self.prefix = ["ip", "netns", "exec", "kvs-trial", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        text = next(p for p in HERE.parents if (p / "deploy/patroni").is_dir()).joinpath("deploy/patroni/patroni.yml").read_text()
        for old, new in [
            ("name: db1", f"name: {self.name}"),
            ("hosts: 10.0.0.21:2379,10.0.0.22:2379,10.0.0.23:2379", f"hosts: {cluster.address}:{cluster.etcd_port}"),
            ("10.0.0.21:8008", f"{self.address}:{self.rest}"),
            ("10.0.0.21:5432", f"{self.address}:{self.port}"),
            ("10.0.0.0/24", f"{cluster.address}/24"),
            ("/var/lib/postgresql/patroni-kvs", f"{self.folder}/data"),
            ("/var/lib/postgresql/patroni.pgpass", f"{self.folder}/pgpass"),
            ("/usr/lib/postgresql/15/bin", BIN),
            ("/var/run/postgresql", str(self.folder)),
            ("local all all peer", "local all all trust"),
            ("auth-local: peer", "auth-local: trust"),
            ("mode: automatic", "mode: 'off'"),
            ("loop_wait: 5", f"loop_wait: {cluster.args.loop_wait}"),
            ("synchronous_mode_strict: true", f"synchronous_mode_strict: {str(cluster.args.nodes > 2).lower()}"),
        ] + [pair.split("=>") for pair in cluster.args.replace]:
            assert old in text, old
            text = text.replace(old, new)
        self.yml = self.folder / "patroni.yml"
        self.yml.write_text(text)
        if os.geteuid() == 0:
            os.chown(self.folder, 65534, 65534)
        self.start()

    def start(self):
        self.patroni = start(self.prefix + ["/usr/bin/patroni", str(self.yml)], self.folder / "log")

    def postmaster(self):
        return int((self.folder / "data/postmaster.pid").read_text().split("\n")[0])

    def processes(self):
        return tree(self.patroni.pid) + tree(self.postmaster())

    def is_synchronous(self):
        try:
            c = http.client.HTTPConnection(self.address, self.rest, timeout=5)
            c.request("GET", "/synchronous")
            return c.getresponse().status == 200
        except OSError:
            return False

    def sql(self, sql, database="postgres"):
        args = [f"{BIN}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", str(self.folder), "-p", str(self.port),
                "-c", sql, database]
        try:
            done = subprocess.run(args, env=ENV, capture_output=True, text=True, timeout=3)
        except subprocess.TimeoutExpired:
            return None
        return done.stdout.strip() if done.returncode == 0 else None


class Cluster:
    def __init__(self, args):
        self.args = args
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvs-patroni-"))
        self.folder.chmod(0o755)
        self.address = "127.0.0.1"
        if args.netns:
            self.address = "10.99.77.1"
            for line in NETNS:
                subprocess.run(line.split(), check=True)
        self.etcd_port, self.peer = free_port(), free_port()
        etcd = self.folder / "etcd"
        etcd.mkdir()
        if os.geteuid() == 0:
            os.chown(etcd, 65534, 65534)
        self.nodes = []
        self.start_etcd()
        for n in range(1, args.nodes + 1):
            self.nodes.append(Node(self, n))
        self.wait_for(lambda: self.is_synchronous(), 60, "no synchronous standby")
        self.primary().sql("CREATE ROLE kvs LOGIN PASSWORD 'change-me-kvs'")
        self.primary().sql("CREATE DATABASE kvs OWNER kvs TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
        hosts = ",".join(f"{node.address}:{node.port}" for node in self.nodes)
        self.url = f"postgresql://kvs:change-me-kvs@{hosts}/kvs?target_session_attrs=read-write" + args.url

    def start_etcd(self):
        url, peer = f"http://{self.address}:{self.etcd_port}", f"http://127.0.0.1:{self.peer}"
        self.etcd = start(["/usr/bin/etcd", "--name", "e", "--data-dir", str(self.folder / "etcd/data"),
                           "--listen-client-urls", url, "--advertise-client-urls", url,
                           "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                           "--initial-cluster", f"e={peer}"], self.folder / "etcd.log")

    def wait_for(self, condition, seconds, what):
        started = time.time()
        while not condition():
            if time.time() - started > seconds:
                raise SystemExit(f"timeout: {what}; logs in {self.folder}")
            time.sleep(0.05)
        return time.time() - started

    def primary(self, but=None):
        for node in self.nodes:
            if node is not but and node.sql("SELECT pg_is_in_recovery()") == "f":
                return node

    def standby(self):
        primary = self.primary()
        return next(node for node in self.nodes if node is not primary)

    def is_synchronous(self):
        primary = self.primary()
        return primary and any(node.is_synchronous() for node in self.nodes if node is not primary) and \
            primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"

    def etcd_sync(self):
        import base64, json
        try:
            c = http.client.HTTPConnection(self.address, self.etcd_port, timeout=2)
            key = base64.b64encode(b"/service/kvs/sync").decode()
            c.request("POST", "/v3/kv/range", json.dumps({"key": key}))
            kvs = json.loads(c.getresponse().read()).get("kvs") or []
            return base64.b64decode(kvs[0]["value"]).decode() if kvs else ""
        except OSError:
            return ""

    def ctl(self, *args):
        node = self.nodes[0]
        return subprocess.run(["/usr/bin/patronictl", "-c", str(node.yml), *args], env=ENV | {"HOME": "/tmp"}, capture_output=True,
                              text=True, timeout=120)

    def stop(self):
        for node in self.nodes:
            send([node.patroni.pid], signal.SIGKILL)
            node.patroni.wait()
            try:
                pid = node.postmaster()
                send(tree(pid), signal.SIGCONT)
                send([pid], signal.SIGQUIT)
                while os.path.exists(f"/proc/{pid}"):
                    time.sleep(0.05)
            except (OSError, ValueError):
                pass
        self.etcd.kill()
        self.etcd.wait()
        if self.args.netns:
            subprocess.run(["ip", "netns", "delete", "kvs-trial"])
        if not self.args.keep:
            shutil.rmtree(self.folder)


class Writers:
    """32 clients of `kvs serve`: even ones put growing numbers, odd ones increment; each with its own key."""

    def __init__(self, cluster):
        self.port, self.stop, self.events = free_port(), False, []
        auth = cluster.folder / "auth.txt"
        auth.write_text(SECRET)
        self.log = cluster.folder / "kvs.log"
        self.kvs = subprocess.Popen([cluster.args.kvs, "serve", "--http", f"127.0.0.1:{self.port}", "--auth", str(auth), "--store",
                                     cluster.url], stdout=subprocess.DEVNULL, stderr=open(self.log, "ab"), cwd=cluster.folder)
        cluster.wait_for(lambda: self.ask("PUT", "/kv/default/probe", "1")[0] in (200, 201), 20, "kvs does not serve")
        self.done, self.open, self.refused, self.last = [0] * 32, [0] * 32, [0] * 32, [0] * 32
        self.when = [0.0] * 32
        self.texts, self.longest, self.wrong = {}, 0.0, []
        self.threads = [threading.Thread(target=self.write, args=(n,), daemon=True) for n in range(32)]
        for thread in self.threads:
            thread.start()

    def ask(self, method, target, body=""):
        try:
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
            c.request(method, target, body, {"X-KVS-Auth": SECRET})
            r = c.getresponse()
            return r.status, r.read().decode()
        except OSError as e:
            return 0, str(e)

    def write(self, n):
        number = 0
        while not self.stop:
            number += 1
            started = time.time()
            if n % 2 == 0:
                status, body = self.ask("PUT", f"/kv/default/w{n}", str(number))
            else:
                status, body = self.ask("POST", f"/kv/default/w{n}?op=incr")
            now = time.time()
            self.longest = max(self.longest, now - started)
            if status in (200, 201):
                self.done[n] += 1
                self.last[n] = number if n % 2 == 0 else int(body)
                self.when[n] = now
                self.events.append(now)
                continue
            text = body.strip().split("\n")[0]
            self.texts[(status, text)] = self.texts.get((status, text), 0) + 1
            if status == 503:
                self.refused[n] += 1
            else:
                self.open[n] += 1
            if "try again" not in body and "read the key before you write again" not in body:
                self.wrong.append((status, text))
            time.sleep(0.02)

    def first_after(self, moment, timeout=60):
        end = time.time() + timeout
        while time.time() < end:
            later = [e for e in self.events[-4000:] if e > moment]
            if later:
                return min(later)
            time.sleep(0.01)

    def all_after(self, moment, timeout):
        """The time when each writer has had an acknowledgement since `moment`."""
        end = time.time() + timeout
        while time.time() < end:
            if min(self.when) > moment:
                return time.time()
            time.sleep(0.002)
        return end

    def gap(self, begin, end):
        times = [begin] + sorted(e for e in self.events if begin < e < end) + [end]
        return max(b - a for a, b in zip(times, times[1:]))

    def check(self):
        self.stop = True
        for thread in self.threads:
            thread.join(90)
        print("threads that still hang:", sum(thread.is_alive() for thread in self.threads))
        lost = 0
        for n in range(32):
            status, body = self.ask("GET", f"/?k=w{n}")
            if status != 200 or int(body) < self.last[n]:
                lost += 1
                print(f"LOST w{n}: {self.last[n]} acknowledged, {status} {body} stored")
            if n % 2 and status == 200 and not self.done[n] <= int(body) <= self.done[n] + self.open[n]:
                print(f"WRONG COUNT w{n}: {body} stored, {self.done[n]} done, {self.open[n]} open")
        print(f"{sum(self.done)} acknowledged, {sum(self.refused)} with 503, {sum(self.open)} open, {lost} keys with lost writes, "
              f"longest request {self.longest:.2f} s, {len(self.wrong)} errors without advice")
        for (status, text), count in sorted(self.texts.items(), key=lambda item: -item[1]):
            print(f"  {count} x {status} {text}")


def promoted(cluster, old, w, began, label):
    """Waits for a new primary and reports the times."""
    cluster.wait_for(lambda: cluster.primary(but=old), 90, "no new primary")
    at = time.time()
    all_served = w.all_after(at, 30)
    first = w.first_after(at, 1)
    if not first:
        print(f"{label}: another primary accepts writes {at - began:.2f} s after the event; NO acknowledged write within 30 s")
        return
    print(f"{label}: new primary {cluster.primary(but=old).name} accepts writes {at - began:.2f} s after the event; "
          f"first acknowledged write {first - at:.2f} s after that, all in all {first - began:.2f} s; "
          f"all 32 writers {all_served - at:.2f} s after the promotion")


def run(cluster, w, scenario):
    primary, began = cluster.primary(), time.time()
    print(f"--- {scenario}: the primary is {primary.name}; /sync: {cluster.etcd_sync()}")
    if scenario == "crash":
        send([primary.postmaster()], signal.SIGKILL)
        promoted(cluster, primary, w, began, scenario)
    elif scenario == "crash-any":
        send([primary.postmaster()], signal.SIGKILL)
        cluster.wait_for(lambda: not primary.sql("SELECT 1"), 20, "it lives")
        promoted(cluster, None, w, began, scenario)
    elif scenario == "node":
        send(primary.processes(), signal.SIGKILL)
        primary.patroni.wait()
        promoted(cluster, primary, w, began, scenario)
        time.sleep(2)
        primary.start()
    elif scenario == "switch":
        done = cluster.ctl("switchover", "kvs", "--force")
        print(done.stdout[-700:], done.stderr[-300:])
        print("the longest time without an acknowledged write:", round(w.gap(began, time.time()), 2))
    elif scenario in ("standby", "standby-frozen"):
        standby = cluster.standby()
        pids = standby.processes()
        send(pids, signal.SIGKILL if scenario == "standby" else signal.SIGSTOP)
        time.sleep(40)
        print("the longest time without an acknowledged write:", round(w.gap(began, time.time()), 2))
        print("/sync:", cluster.etcd_sync(), "names:", primary.sql("SHOW synchronous_standby_names"))
        if scenario == "standby":
            standby.patroni.wait()
            standby.start()
        else:
            send(pids, signal.SIGCONT)
    elif scenario == "strict-standby":
        print(cluster.ctl("edit-config", "kvs", "--force", "-s", "synchronous_mode_strict=true").stdout[-200:])
        time.sleep(3 * cluster.args.loop_wait)
        standby = cluster.standby()
        send(standby.processes(), signal.SIGKILL)
        time.sleep(2)
        started = time.time()
        while time.time() < started + 40:
            time.sleep(1)
        print("acknowledged in the last 35 s:", len([e for e in w.events if e > time.time() - 35]),
              "names:", primary.sql("SHOW synchronous_standby_names"))
        print("waiting:", primary.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
        at = time.time()
        print("read while writes wait:", w.ask("GET", "/?k=probe"), round(time.time() - at, 3))
        standby.patroni.wait()
        standby.start()
        print("first write after the standby started again:", round(w.first_after(at) - at, 2))
    elif scenario == "etcd":
        cluster.etcd.kill()
        cluster.etcd.wait()
        time.sleep(40)
        print("the longest time without an acknowledged write:", round(w.gap(began, time.time()), 2))
        cluster.start_etcd()
        time.sleep(10)
        print("primary now", cluster.primary().name, "gap", round(w.gap(began, time.time()), 2))
    elif scenario == "patroni":
        send(tree(primary.patroni.pid), signal.SIGKILL)
        primary.patroni.wait()
        promoted(cluster, primary, w, began, scenario)
        time.sleep(10)
        print("what clients get meanwhile:", w.texts)
        print("old primary still primary:", primary.sql("SELECT pg_is_in_recovery()"), "its connections of kvs:",
              primary.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'kvs'"))
        at = time.time()
        primary.start()
        print("Patroni started again; first acknowledged write after", round(w.first_after(at) - at, 2))
    elif scenario == "commands":
        for args in (["list"], ["pause"], ["list"], ["resume"]):
            done = cluster.ctl(*args)
            print(args, done.stdout, done.stderr)
        for node in cluster.nodes:
            print(node.name, [subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://{node.address}:{node.rest}{path}"],
                                             capture_output=True, text=True).stdout for path in ("/primary", "/synchronous")])
        print(subprocess.run(["curl", "-s", f"http://{cluster.address}:{cluster.etcd_port}/health"], capture_output=True, text=True).stdout)
    elif scenario == "node-restart":
        send(primary.processes(), signal.SIGKILL)
        primary.patroni.wait()
        primary.start()
        promoted(cluster, primary, w, began, scenario)
    elif scenario == "patroni-restart":
        send(tree(primary.patroni.pid), signal.SIGKILL)
        primary.patroni.wait()
        primary.start()
        names, seen = None, []
        while time.time() < began + 30:
            now = primary.sql("SHOW synchronous_standby_names")
            if now != names:
                names = now
                seen.append((round(time.time() - began, 2), names, cluster.etcd_sync()))
            time.sleep(0.02)
        cluster.wait_for(lambda: time.time() > began + 30, 60, "")
        print("synchronous_standby_names after a restart of Patroni (seconds, names, /sync):", seen)
        print("the longest time without an acknowledged write:", round(w.gap(began, time.time()), 2))
        if names == "":
            print(cluster.ctl("list").stdout)
            began = time.time()
            done = cluster.ctl("restart", "kvs", cluster.standby().name, "--force")
            print("patronictl restart of the standby:", done.stdout[-100:], done.stderr)
            took = cluster.wait_for(lambda: primary.sql("SHOW synchronous_standby_names") != "", 60, "still not synchronous")
            print(f"synchronous_standby_names is set again {took:.1f} s later")
    elif scenario == "both":
        standbys = [node for node in cluster.nodes if node.is_synchronous()]
        for node in [primary] + standbys:
            send(node.processes(), signal.SIGKILL)
            node.patroni.wait()
        print("killed", primary.name, [node.name for node in standbys])
        time.sleep(45)
        print("the primary 45 s later:", cluster.primary())
        for node in [primary] + standbys:
            node.start()
        cluster.wait_for(cluster.primary, 90, "no primary")
        print("after both were started again the primary is", cluster.primary().name)
    elif scenario == "vanish":
        if primary.name != "db1":
            cluster.ctl("switchover", "kvs", "--force")
            cluster.wait_for(cluster.is_synchronous, 90, "no synchronous standby")
            time.sleep(10)
            primary = cluster.primary()
        began = time.time()
        subprocess.run(DROP.format("add").split(), check=True)
        promoted(cluster, primary, w, began, scenario)
        print("the longest time without an acknowledged write:", round(w.gap(began, time.time()), 2))
        print("the old primary now:", primary.sql("SELECT pg_is_in_recovery()"))
        subprocess.run(DROP.format("del").split(), check=True)
    elif scenario == "frozen":
        pids = primary.processes()
        send(pids, signal.SIGSTOP)
        cluster.wait_for(lambda: cluster.primary(but=primary), 90, "no new primary")
        at = time.time()
        print(f"new primary after {at - began:.2f}")
        first = w.first_after(at, 60)
        print("first acknowledged write after that:", first and round(first - at, 2))
        at = time.time()
        send(pids, signal.SIGCONT)
        print("thawed; first acknowledged write after", round(w.first_after(at) - at, 2))
    took = cluster.wait_for(cluster.is_synchronous, 90, "no synchronous standby again")
    print(f"synchronous again {took:.2f} s later")
    time.sleep(2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kvs", default="target/release/kvs", help="the program")
    parser.add_argument("--loop-wait", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--url", default="")
    parser.add_argument("--netns", action="store_true", help="put db1 into a network namespace; needed by `vanish`")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--replace", action="append", default=[])
    parser.add_argument("scenario", nargs="+")
    args = parser.parse_args()
    cluster = None
    try:
        began = time.time()
        cluster = Cluster(args)
        print(f"cluster started in {time.time() - began:.1f} s; primary {cluster.primary().name}")
        w = Writers(cluster)
        try:
            time.sleep(2)
            for scenario in args.scenario:
                run(cluster, w, scenario)
            w.check()
        finally:
            w.kvs.terminate()
            w.kvs.wait()
    finally:
        if cluster:
            cluster.stop()


main()
