#!/usr/bin/env bash
# `make run`: runs kvs behind a private Apache, for trying it out. It installs only the program of Apache and mod_fcgid,
# if they are missing. It installs no service: nothing else is started, and port 80 is not used.
#
#   PORT=8080   the port, on 127.0.0.1 only
#   SITE=dir    keep the data in this folder; without it the data is in a temporary folder that Ctrl-C removes
#   PROGRAM=f   use this kvs instead of building one
#
# However this script ends, Apache, every kvs process that it started and the temporary folder are gone afterwards.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

port=${PORT:-8080}
url="http://127.0.0.1:$port"
modules=/usr/lib/apache2/modules
work='' server='' site='' apache=''

say() { printf '%s\n' "$*"; }
fail() {
  printf 'make run: %s\n' "$*" >&2
  exit 1
}

# Whether anything answers on the port.
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# The status code of GET $1, by bash alone, since a fresh machine may have no curl.
status() {
  (
    exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$1" >&3
    IFS=' ' read -r -t 5 _ code _ <&3 && printf %s "$code"
  ) 2>/dev/null || true
}

# The processes that run the program of this site. They are found by /proc/PID/exe, not by a pattern over command lines.
programs() {
  local link
  for link in /proc/[0-9]*/exe; do
    case "$(readlink "$link" 2>/dev/null)" in
    "$site/kvs.fcgi" | "$site/kvs.fcgi (deleted)")
      link=${link#/proc/}
      printf '%s\n' "${link%/exe}"
      ;;
    esac
  done
}

stop() {
  local pid tries
  trap '' INT TERM HUP
  if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
    # Apache gives its programs up to ten seconds to finish their requests.
    for ((tries = 0; tries < 120; tries++)); do
      kill -0 "$server" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$server" 2>/dev/null || true
  fi
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  if [ -n "$apache" ]; then
    for ((tries = 0; tries < 30; tries++)); do
      [ -n "$(programs)" ] || break
      sleep 0.1
    done
    for pid in $(programs); do
      kill -KILL "$pid" 2>/dev/null || true
    done
  fi
  [ -z "$work" ] || rm -rf "$work"
}

# As root, by sudo, or not at all.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif ! command -v sudo >/dev/null; then
    return 1
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

find_apache() {
  [ -e "$modules/mod_fcgid.so" ] || return 1
  apache=$(PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v apache2) || return 1
}

install_apache() {
  find_apache && return
  command -v apt-get >/dev/null || return 1
  say "Installing Apache's program and mod_fcgid (apache2-bin, libapache2-mod-fcgid) ..."
  local get=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends
    apache2-bin libapache2-mod-fcgid)
  as_root "${get[@]}" >/dev/null 2>&1 ||
    { as_root apt-get update >/dev/null 2>&1 && as_root "${get[@]}" >/dev/null; } || return 1
  find_apache
}

lay_out() {
  if [ -n "${SITE:-}" ]; then
    mkdir -p "$SITE"
    site=$(cd "$SITE" && pwd -P)
  else
    site=$work/site
    mkdir "$site"
  fi
  case "$site" in
  *[[:space:]]*) [ -z "$apache" ] || fail "mod_fcgid starts no program in a folder with a space in its name: $site" ;;
  esac
  cp .htaccess auth_sample.txt "$site/"
  # By rename: a running program must not be overwritten.
  cp "$program" "$site/.kvs.new"
  chmod 755 "$site/.kvs.new"
  mv -f "$site/.kvs.new" "$site/kvs.fcgi"
  if [ ! -e "$site/auth.txt" ]; then
    (umask 077 && new_secret >"$site/auth.txt")
  fi
  secret=$(sed -n 's/^[[:space:]]*\([^#[:space:]][^[:space:]]*\).*/\1/p' "$site/auth.txt" | head -n 1)
  case "$secret" in
  '' | sha256:* | yourauthorizationhere) secret=SECRET ;;
  esac
}

# The first word that `kvs passcode` prints.
new_secret() {
  local lines
  lines=$("$program" --quiet passcode) || fail "kvs passcode failed"
  lines=${lines%%$'\n'*}
  printf '%s\n' "${lines%% *}"
}

# If root starts Apache, it runs as www-data. This user must be able to reach the site and to write to it.
give_to() {
  chmod 755 "$work"
  chown "$1:$2" "$site" "$site/auth.txt"
  [ ! -e "$site/data" ] || chown -R "$1:$2" "$site/data"
  if command -v setpriv >/dev/null; then
    setpriv --reuid="$1" --regid="$2" --clear-groups test -x "$site/kvs.fcgi" -a -w "$site" ||
      fail "the user $1, as whom Apache runs, cannot reach $site; set SITE=/a/folder/that/it/can/reach"
  fi
}

# `set -m` gives the server a process group of its own: Ctrl-C and a closed terminal reach this script only, which then
# stops the server in order (Apache would restart on SIGHUP), and no process of the group can be missed.
start_apache() {
  local user group
  user=$(id -un) group=$(id -gn)
  if [ "$(id -u)" = 0 ]; then
    user=www-data group=www-data
    id "$user" >/dev/null 2>&1 || fail "Apache started by root needs the user www-data; run this as another user"
    give_to "$user" "$group"
  fi
  run=$work/run
  mkdir "$run"
  set -m
  "$apache" -f "$PWD/deploy/apache/private.conf" -D mod_fcgid -D FOREGROUND \
    -C "Define KVS_DEPLOY \"$PWD/deploy/apache\"" -C "Define KVS_MODULES $modules" -C "Define KVS_RUN \"$run\"" \
    -C "Define KVS_SITE \"$site\"" -C "Define KVS_PORT $port" \
    -C "Define KVS_USER $user" -C "Define KVS_GROUP $group" 2>"$run/stderr" </dev/null &
  server=$!
  set +m
}

start_alone() {
  run=$work/run
  mkdir "$run"
  set -m
  "$site/kvs.fcgi" serve --http "127.0.0.1:$port" --store "yaml:$site/data" --auth "$site/auth.txt" \
    2>"$run/stderr" </dev/null &
  server=$!
  set +m
}

wait_until_it_answers() {
  local code='' end=$((SECONDS + 15))
  while ((SECONDS < end)); do
    kill -0 "$server" 2>/dev/null || break
    code=$(status /status)
    [ "$code" != 200 ] || return 0
    sleep 0.1
  done
  tail -n 5 "$run"/stderr "$run"/error.log >&2 2>/dev/null || true
  fail "the server did not come up (last answer: ${code:-none}); its last log lines are above"
}

introduce() {
  cat <<END

kvs answers at $url/ ($1).  Open it in a browser, or paste lines into another terminal:

# Store a value
curl -d 'kitchen/temp=21.5&auth=$secret' $url/
# Read it
curl '$url/?k=kitchen/temp'
# Store several together
curl -d 'hall=19.5&attic=12&auth=$secret' $url/
# Read the one of several that was stored last
curl -i '$url/?k=hall,attic,nothing'
# Read only what has changed
curl -i -H "If-None-Match: \$(curl -sI '$url/?k=hall' | sed -n 's/^[Ee][Tt]ag: *//p' | tr -d '\r')" '$url/?k=hall'
# Wait for a key that appears after 3 seconds
(sleep 3; curl -s -d 'door=open&auth=$secret' $url/) & curl -i '$url/?k=door&wait=20&seen=none'
# List all keys
curl -H 'X-KVS-Auth: $secret' $url/kv/default

The secret is in $site/auth.txt, and the stored values are in $site/data/default.yaml.
END
  if [ -n "${SITE:-}" ]; then
    say "Ctrl-C stops it; the folder is kept."
  else
    say "Ctrl-C stops it and removes the folder (make run SITE=mydata keeps one)."
  fi
}

case "$port" in
'' | *[!0-9]*) fail "PORT must be a number, not '$port'" ;;
esac
if taken; then
  fail "port $port is taken; choose another: make run PORT=$((port + 2))"
fi
program=${PROGRAM:-}
if [ -n "$program" ]; then
  [ -x "$program" ] || fail "PROGRAM=$program is not an executable file"
else
  command -v cargo >/dev/null || fail "the Rust toolchain is missing: see https://rustup.rs"
  say "Building kvs ..."
  cargo build --release --quiet --bin kvs
  program=${CARGO_TARGET_DIR:-target}/release/kvs
fi

trap stop EXIT
# Ctrl-C is the normal end, so it is not a failure.
trap 'echo; exit 0' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
work=$(cd "$(mktemp -d "${TMPDIR:-/tmp}/kvs.XXXXXX")" && pwd -P)
chmod 755 "$work"

if install_apache; then
  lay_out
  start_apache
  wait_until_it_answers
  introduce "Apache and mod_fcgid"
else
  say "Apache with mod_fcgid is missing and could not be installed (apt-get as root, or sudo, is needed):"
  say "kvs answers HTTP itself instead."
  lay_out
  start_alone
  wait_until_it_answers
  introduce "without Apache"
fi

# A trapped signal ends the wait at once. If the server ends without one, that is an error.
wait "$server" || true
tail -n 5 "$run"/stderr "$run"/error.log >&2 2>/dev/null || true
fail "the server ended by itself"
