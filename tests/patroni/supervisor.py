#!/usr/bin/python3
"""Checks the supervisor shell of tests/postgres/cluster.rs: starts etcd and one node under it, kills the parent with
kill -9, and shows that no process and no folder is left."""
import os, pathlib, re, signal, socket, subprocess, sys, tempfile, time

ROOT = next(p for p in pathlib.Path(__file__).resolve().parents if (p / "deploy/patroni").is_dir())
rust = next(ROOT.glob("tests/**/postgres/cluster.rs")).read_text()
SUPERVISOR = re.search(r'SUPERVISOR: &str = r#"(.*?)"#', rust, re.S).group(1)


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def folder():
    name = tempfile.mkdtemp(prefix="kvs-postgres-")
    os.chown(name, 65534, 65534)
    return name


def launch(place, *args):
    return subprocess.Popen(["/bin/sh", "-c", SUPERVISOR, "supervisor", place, *args], cwd="/", stdin=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, user=65534, group=65534,
                            extra_groups=[])


def parent(etcd, node):
    client, peer, db, rest = port(), port(), port(), port()
    c, p = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    one = launch(etcd, "/usr/bin/etcd", "--name", "one", "--data-dir", f"{etcd}/data", "--listen-client-urls", c,
                 "--advertise-client-urls", c, "--listen-peer-urls", p, "--initial-advertise-peer-urls", p, "--initial-cluster", f"one={p}")
    text = (ROOT / "deploy/patroni/patroni.yml").read_text()
    pairs = re.findall(r'\("([^"]+)", (?:format!\("([^"]+)"\)|"([^"]+)"\.to_owned\(\)|(\w+)\.(?:display\(\)\.)?to_string\(\))\)', rust)
    values = {"name": "db1", "etcd": client, "port": db, "rest": rest, "folder": node, "programs": "/usr/lib/postgresql/15/bin"}
    for old, pattern, plain, variable in pairs:
        assert old in text, old
        text = text.replace(old, pattern.format(**values) if pattern else plain or str(values[variable]))
    print(len(pairs), "replacements, as in the Rust test")
    pathlib.Path(node, "patroni.yml").write_text(text)
    two = launch(node, "/usr/bin/patroni", f"{node}/patroni.yml")
    sql = ["/usr/bin/psql", "-XAtq", "-U", "postgres", "-h", node, "-p", str(db), "-c", "SELECT pg_is_in_recovery()", "postgres"]
    while subprocess.run(sql, capture_output=True, text=True).stdout != "f\n":
        time.sleep(0.2)
    print("the node is a primary; postmaster", open(f"{node}/data/postmaster.pid").readline().strip(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


etcd, node = folder(), folder()
child = os.fork()
if child == 0:
    parent(etcd, node)
os.waitpid(child, 0)
started = time.time()
while os.path.exists(etcd) or os.path.exists(node):
    if time.time() - started > 30:
        sys.exit("the folders remain")
    time.sleep(0.1)
left = subprocess.run(["pgrep", "-af", f"{etcd}|{node}"], capture_output=True, text=True).stdout
print(f"after kill -9 of the parent: folders gone after {time.time() - started:.1f} s; processes left: {left!r}")
