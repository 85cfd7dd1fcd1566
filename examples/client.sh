#!/bin/sh
# kvs from a shell script, with curl.
#
#   client.sh set KEY VALUE [KEY VALUE ...]   store, all or nothing
#   client.sh get KEY [KEY ...]               print the value of the one that was stored last
#   client.sh watch KEY                       print the value, then each new one, until interrupted
#
#   KVS_URL      the URL of kvs             (http://127.0.0.1:8080/)
#   KVS_SECRET   the secret, for set        It is never passed as an argument, which other users could see.
set -eu
url=${KVS_URL:-http://127.0.0.1:8080/}

fail() {
  printf 'client.sh: %s\n' "$*" >&2
  exit 1
}

set_keys() {
  [ $# -gt 0 ] && [ $(($# % 2)) = 0 ] || fail "set takes pairs of KEY VALUE"
  count=$(($# / 2))
  while [ "$count" -gt 0 ]; do
    # curl escapes the value; the name must be escaped here.
    set -- "$@" --data-urlencode "$(escape "$1")=$2"
    shift 2
    count=$((count - 1))
  done
  printf 'header = "X-KVS-Auth: %s"\n' "${KVS_SECRET:?}" |
    curl --config - --silent --show-error --fail-with-body "$@" "$url"
  echo
}

# Writes every byte except letters and digits as %XX.
escape() {
  printf %s "$1" | od -An -v -tx1 | tr ' ' '\n' | while read -r byte; do
    case $byte in
    3[0-9] | 4[1-9a-f] | 5[0-9a] | 6[1-9a-f] | 7[0-9a]) printf "\\$(printf %o "0x$byte")" ;;
    ??) printf %%%s "$byte" ;;
    esac
  done
}

get_keys() {
  [ $# -gt 0 ] || fail "get takes at least one KEY"
  keys=
  for key in "$@"; do keys=${keys:+$keys,}$(escape "$key"); done
  curl --silent --show-error --fail "$url?k=$keys"
}

watch_key() {
  [ $# = 1 ] || fail "watch takes one KEY"
  key=$(escape "$1")
  head=$(mktemp) body=$(mktemp)
  trap 'rm -f "$head" "$body"' EXIT
  trap 'exit 130' INT TERM
  seen=none
  while :; do
    : >"$head"
    # The response comes at once if the ETag differs from this one, else when it changes, or after 25 seconds.
    code=$(curl --silent --max-time 40 --dump-header "$head" --output "$body" --write-out '%{http_code}' \
      "$url?k=$key&wait=25&seen=$seen") || code=000
    case $code in
    200)
      cat "$body"
      echo
      seen=$(sed -n 's/^[Ee][Tt][Aa][Gg]: *"\(.*\)".*/\1/p' "$head")
      ;;
    304) ;;
    404) seen=none ;;
    *) sleep 2 ;; # kvs restarts, or cannot be reached.
    esac
    # kvs is busy or shuts down: it says when to try again.
    pause=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$head")
    [ -z "$pause" ] || sleep "$pause"
  done
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
set) set_keys "$@" ;;
get) get_keys "$@" ;;
watch) watch_key "$@" ;;
*) fail "say set, get or watch" ;;
esac
