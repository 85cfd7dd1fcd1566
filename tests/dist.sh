#!/usr/bin/env bash
# Checks the files that deploy/dist.sh has built in the folder $1: it runs the program, and installs the package into a
# folder of its own.
set -euo pipefail
umask 022
cd "$1"

processor=$(uname -m)
program=$PWD/kvs-$processor
package=$(echo "$PWD"/kvs_*_"$(dpkg --print-architecture)".deb)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'tests/dist.sh: %s\n' "$*" >&2
  exit 1
}
expect() { [ "$1" = "$2" ] || fail "expected: $2; found: $1"; }

sha256sum --check --quiet SHA256SUMS
! readelf -S "$program" | grep -q '\.symtab' || fail "$program is not stripped"

# The program works alone, in an empty folder.
mkdir "$work/alone"
(
  cd "$work/alone"
  "$program" set --quiet kitchen/temp 21.5
  expect "$("$program" get kitchen/temp)" 21.5
  "$program" init --quiet site >/dev/null
  cmp "$program" site/kvs.fcgi
  KVS_HOME=$PWD/site REQUEST_METHOD=GET QUERY_STRING='k=kitchen/temp&default=0' GATEWAY_INTERFACE=CGI/1.1 \
    site/kvs.fcgi >response
  grep -q '^Status: 200' response || fail "no response as a CGI program: $(cat response)"
)

# dpkg installs the package into a folder. The scripts of the package find programs that only write down their arguments.
root=$work/root
mkdir -p "$root" "$work/stubs"
for stub in systemctl deb-systemd-helper deb-systemd-invoke; do
  # No unit was installed or enabled before.
  printf '#!/bin/sh\necho "%s $*" >>%q\ncase "$*" in *debian-installed* | *was-enabled*) exit 1 ;; esac\n' \
    "$stub" "$work/calls" >"$work/stubs/$stub"
  chmod 755 "$work/stubs/$stub"
done
mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info"
touch "$root/var/lib/dpkg/status" "$work/calls"
dpkg_in_root() {
  PATH="$work/stubs:$PATH" dpkg --root="$root" --log=/dev/null --force-depends --force-not-root \
    --force-script-chrootless --force-confold "$@" >"$work/dpkg.log" 2>&1 || fail "dpkg $*: $(cat "$work/dpkg.log")"
}
dpkg_in_root --install "$package"
grep -q 'sudo systemctl enable --now kvs.socket' "$work/dpkg.log" || fail "the package does not say how to start kvs"
! grep -E ' (enable|start|restart) ' "$work/calls" || fail "the package starts a service that has no secret yet"
for file in usr/bin/kvs usr/share/man/man1/kvs.1.gz usr/share/man/man1/kvs-serve.1.gz \
  usr/share/bash-completion/completions/kvs usr/share/zsh/vendor-completions/_kvs \
  usr/share/fish/vendor_completions.d/kvs.fish usr/share/doc/kvs/copyright; do
  [ -s "$root/$file" ] || fail "the package lacks $file"
done
cmp "$program" "$root/usr/bin/kvs"
unit=$(find "$root" -name kvs.service)
expect "$(dirname "$unit")" "$(dirname "$(find "$root" -name kvs.socket)")"

# The command of the unit, as systemd would start it.
credentials=$work/credentials
mkdir "$credentials"
command=$(sed -n 's/^ExecStart=//p' "$unit")
for name in $(sed -n 's/^LoadCredential=\([^:]*\):.*/\1/p' "$unit"); do
  [ "$name" = auth.txt ] || cp "$root/etc/kvs/$name" "$credentials/$name"
done
"$root/usr/bin/kvs" passcode --quiet --write --auth "$credentials/auth.txt" >/dev/null
settings=$(cd "$work" && CREDENTIALS_DIRECTORY=$credentials PATH="$root/usr/bin:$PATH" bash -c "$command --check-config")
grep -q '^store: yaml:/var/lib/kvs  # ' <<<"$settings" || fail "the unit does not read /etc/kvs/config.yaml: $settings"

# A newer package keeps changed settings. When it is removed, the settings stay until it is purged.
echo 'reads: secret' >>"$root/etc/kvs/config.yaml"
dpkg_in_root --install "$package"
grep -q '^reads: secret' "$root/etc/kvs/config.yaml" || fail "a new installation replaces the settings"
dpkg_in_root --remove kvs
[ ! -e "$root/usr/bin/kvs" ] && [ -e "$root/etc/kvs/config.yaml" ] || fail "removing the package removes the settings"
echo "tests/dist.sh: the files in $1 work"
