#!/bin/sh
# kvs over REST from a shell script, with curl: any key of one bucket.
#
#   rest.sh get KEY                    print the value
#   rest.sh put KEY VALUE [SECONDS]    store it; with SECONDS it expires after this time
#   rest.sh delete KEY
#   rest.sh incr KEY [BY]              count, and print the new number
#   rest.sh update KEY COMMAND...      replace the value by the output of COMMAND for it; safe with other writers
#   rest.sh many KEY...                print the keys that exist, as JSON
#   rest.sh move FROM TO AMOUNT        subtract from one number and add to another: both, or neither
#   rest.sh watch KEY                  print the value, then each new one, until interrupted
#
#   KVS_URL, KVS_BUCKET                URL and bucket (http://127.0.0.1:8080/, default)
#   KVS_SECRET                         the secret. It is never passed as an argument, which other users could see.
set -eu
url=${KVS_URL:-http://127.0.0.1:8080/} bucket=${KVS_BUCKET:-default}
head=$(mktemp) body=$(mktemp) new=$(mktemp)
trap 'rm -f "$head" "$body" "$new"' EXIT
trap 'exit 130' INT TERM

fail() {
  printf 'rest.sh: %s\n' "$*" >&2
  exit 1
}

# Writes every byte except letters and digits as %XX, for a URL.
escape() {
  printf %s "$1" | od -An -v -tx1 | tr ' ' '\n' | while read -r byte; do
    case $byte in
    3[0-9] | 4[1-9a-f] | 5[0-9a] | 6[1-9a-f] | 7[0-9a]) printf "\\$(printf %o "0x$byte")" ;;
    ??) printf %%%s "$byte" ;;
    esac
  done
}

# A key as a JSON string. Keys have no control characters.
quote() {
  printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"
}

# The URL of a key. `?key=` accepts every key, also one with two slashes in a row.
entry() {
  printf '%skv/%s?key=%s' "$url" "$bucket" "$(escape "$1")"
}

# Sends a request. Puts the status into `code`, the headers into $head and the body into $body.
ask() {
  : >"$head" >"$body"
  code=$(curl --silent --max-time 40 --dump-header "$head" --output "$body" --write-out '%{http_code}' "$@") || code=000
}

# The same with the secret.
ask_with_secret() {
  secret=$(printf 'header = "X-KVS-Auth: %s"' "${KVS_SECRET:?}")
  ask --config - "$@" <<EOF
$secret
EOF
}

# The ETag of the last response, in quotes.
tag() {
  sed -n 's/^[Ee][Tt][Aa][Gg]: *\("[^"]*"\).*/\1/p' "$head"
}

# Prints the last response, or fails with it.
answer() {
  case $code in
  20?) cat "$body" && echo ;;
  *) fail "$code $(cat "$body")" ;;
  esac
}

put() {
  ask_with_secret --request PUT --data-binary "$2" "$(entry "$1")${3:+&ttl=$3}"
  answer
}

# Reads, changes, and writes only if nobody else has written since then; else tries again.
update() {
  key=$1
  shift
  while :; do
    ask "$(entry "$key")"
    case $code in
    200) guard="If-Match: $(tag)" ;;
    404) guard="If-None-Match: *" && : >"$body" ;;
    *) answer ;;
    esac
    "$@" <"$body" >"$new"
    ask_with_secret --request PUT --header "$guard" --data-binary "@$new" "$(entry "$key")"
    [ "$code" = 412 ] || break
  done
  answer
}

many() {
  rows=
  for key in "$@"; do rows=${rows:+$rows,}$(quote "$key"); done
  ask --header 'Content-Type: application/json' --data-binary "[$rows]" "${url}multi/$bucket"
  answer
}

# The check makes sure that the amount is still there.
move() {
  while :; do
    ask "$(entry "$1")"
    [ "$code" = 200 ] || answer
    [ "$(cat "$body")" -ge "$3" ] || fail "there is not enough in $1"
    check="{\"key\":$(quote "$1"),\"revision\":$(tag)}"
    take="{\"op\":\"incr\",\"key\":$(quote "$1"),\"by\":-$3}"
    give="{\"op\":\"incr\",\"key\":$(quote "$2"),\"by\":$3}"
    ask_with_secret --header 'Content-Type: application/json' \
      --data-binary "{\"checks\":[$check],\"ops\":[$take,$give]}" "${url}txn/$bucket"
    [ "$code" = 409 ] || break
  done
  answer >"$new"
}

watch() {
  seen=
  while :; do
    # The response comes when the ETag differs from this one, or after 25 seconds.
    if [ -n "$seen" ]; then
      ask --header 'Prefer: wait=25' --header "If-None-Match: $seen" "$(entry "$1")"
    else
      ask --header 'Prefer: wait=25' "$(entry "$1")&seen=none"
    fi
    case $code in
    200) cat "$body" && echo && seen=$(tag) ;;
    304) ;;
    404) seen= ;;
    *) sleep 2 ;; # kvs restarts, or cannot be reached.
    esac
    # kvs is busy or shuts down: it says when to try again.
    pause=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$head")
    [ -z "$pause" ] || sleep "$pause"
  done
}

[ $# -ge 2 ] || fail "say get, put, delete, incr, update, many, move or watch, and a key"
command=$1
shift
case $command in
get) ask "$(entry "$1")" && answer ;;
put) [ $# -ge 2 ] || fail "put takes KEY VALUE [SECONDS]" && put "$@" ;;
delete) ask_with_secret --request DELETE "$(entry "$1")" && answer ;;
incr) ask_with_secret --request POST "$(entry "$1")&op=incr&by=${2:-1}" && answer ;;
update) [ $# -ge 2 ] || fail "update takes KEY COMMAND..." && update "$@" ;;
many) many "$@" ;;
move) [ $# = 3 ] || fail "move takes FROM TO AMOUNT" && move "$@" ;;
watch) watch "$1" ;;
*) fail "say get, put, delete, incr, update, many, move or watch" ;;
esac
