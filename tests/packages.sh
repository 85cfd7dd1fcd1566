#!/usr/bin/env bash
# Installs the missing packages that the tests need, and those of `make bench` if it is called as `packages.sh bench`.
# If none is missing, it does nothing and asks nothing.
#
# These packages must not start a service: the tests start private servers, and another program may use port 80. nginx,
# postgresql and others would start one; a policy-rc.d prevents it while apt-get runs, if the machine has no such policy.
set -euo pipefail

# A file that shows that a package is installed (with a * for any version), and the package.
wanted='
/usr/sbin/apache2                                apache2-bin
/usr/lib/apache2/modules/mod_fcgid.so            libapache2-mod-fcgid
/usr/sbin/nginx                                  nginx-light
/usr/sbin/varnishd                               varnish
/usr/bin/cgi-fcgi                                libfcgi-bin
/usr/include/fcgiapp.h                           libfcgi-dev
/usr/bin/chromium                                chromium
/usr/bin/chromedriver                            chromium-driver
/usr/lib/python3/dist-packages/yaml/__init__.py  python3-yaml
/usr/lib/python3.*/ensurepip/__init__.py         python3-venv
/usr/bin/curl                                    curl
/usr/bin/openssl                                 openssl
/usr/bin/node                                    nodejs
/usr/bin/promtool                                prometheus
/usr/bin/gcc                                     gcc
/usr/bin/g++                                     g++
/usr/bin/pkill                                   procps
/usr/bin/strace                                  strace
/usr/bin/valgrind                                valgrind
/usr/bin/fail2ban-regex                          fail2ban
/usr/bin/pg_createcluster                        postgresql
/usr/bin/patroni                                 patroni
/usr/lib/python3/dist-packages/etcd/__init__.py  python3-etcd
/usr/bin/etcd                                    etcd-server
'
# The programs that the benchmarks compare with kvs, and the generator of load.
measured='
/usr/bin/wrk                                     wrk
/usr/bin/redis-server                            redis-server
/usr/bin/webdis                                  webdis
'
purpose='The tests need'
if [ "${1:-}" = bench ]; then
  wanted+=$measured
  purpose='The tests and the benchmarks need'
fi
missing=()
while read -r file package; do
  [ -z "$file" ] || compgen -G "$file" >/dev/null || missing+=("$package")
done <<<"$wanted"
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

give_up() {
  printf '%s these packages, and %s: %s\n' "$purpose" "$1" "${missing[*]}" >&2
  printf 'Install them and start again.\n' >&2
  exit 1
}
command -v apt-get >/dev/null || give_up "apt-get is missing"

sudo=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || give_up "this needs root or sudo"
  sudo=(sudo)
  [ -t 0 ] || sudo=(sudo -n)
  "${sudo[@]}" true || give_up "sudo refused"
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '"${sudo[@]}" rm -f "$policy"' EXIT
  trap 'exit 1' INT TERM HUP
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
  "${sudo[@]}" chmod 755 "$policy"
fi

install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
echo "Installing ${missing[*]} ..."
# The list of packages is updated only if it is old or missing.
"${install[@]}" </dev/null >/dev/null 2>&1 ||
  { "${sudo[@]}" apt-get update -q </dev/null >/dev/null && "${install[@]}" </dev/null >/dev/null; } ||
  give_up "apt-get could not install them"
