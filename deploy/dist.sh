#!/usr/bin/env bash
# `make dist`: builds the files of a release in the folder dist, and checks them.
# `deploy/dist.sh quick`, for `make test`: the same in target/quick/files, with a program that is large but soon built.
#
#   kvs-x86_64, kvs-aarch64   the program, for Linux with glibc 2.17 or later
#   kvs_VERSION_ARCH.deb      a package: the program, the systemd units, /etc/kvs, manual pages, completions
#   SHA256SUMS                for `sha256sum -c SHA256SUMS`
#
# zig compiles C and links against old versions of glibc. It and the two cargo commands go to target/tools.
# The program for aarch64 is built if Rust can build for it: rustup target add aarch64-unknown-linux-gnu
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

zig=0.17.1 zigbuild=0.24.1 cargo_deb=3.8.0
glibc=2.17
max_bytes=$((8 * 1024 * 1024))
target=${CARGO_TARGET_DIR:-target}
out=dist
tools=$PWD/target/tools
pages=target/dist-files
if [ "${1:-}" = quick ]; then
  target=target/quick out=target/quick/files max_bytes=$((1 << 30))
  export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0
  export CARGO_PROFILE_DIST_LTO=off CARGO_PROFILE_DIST_OPT_LEVEL=0 CARGO_PROFILE_DIST_CODEGEN_UNITS=16
fi

fail() {
  printf 'make dist: %s\n' "$*" >&2
  exit 1
}

# The tools, each in the version named above.
get_tools() {
  if [ ! -x "$tools/zig-$zig-$zigbuild/bin/cargo-zigbuild" ]; then
    python3 -m venv "$tools/zig-$zig-$zigbuild"
    "$tools/zig-$zig-$zigbuild/bin/pip" install --quiet "ziglang==$zig" "cargo-zigbuild==$zigbuild"
  fi
  if [ ! -x "$tools/deb-$cargo_deb/bin/cargo-deb" ]; then
    cargo install --quiet --locked --root "$tools/deb-$cargo_deb" "cargo-deb@$cargo_deb"
  fi
  PATH="$tools/zig-$zig-$zigbuild/bin:$tools/deb-$cargo_deb/bin:$PATH"
}

# Whether Rust can build for the target $1.
can_build() { [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; }

# The newest version of glibc that the program $1 needs.
needed_glibc() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -1; }

# Builds the program for the processor $1.
build() {
  local program="$out/kvs-$1" newest size
  # With frame pointers the tables for unwinding are smaller. kvs uses only the default level of zstd, so the strategies
  # of higher levels are left out.
  CFLAGS="$(printf -- '-DZSTD_EXCLUDE_%s_BLOCK_COMPRESSOR ' GREEDY LAZY LAZY2 BTLAZY2 BTOPT BTULTRA) -DDYNAMIC_BMI2=0" \
    RUSTFLAGS='-C force-frame-pointers=yes' \
    cargo zigbuild --quiet --locked --profile dist --bin kvs --target "$1-unknown-linux-gnu.$glibc"
  install -m 755 "$target/$1-unknown-linux-gnu/dist/kvs" "$program"
  newest=$(needed_glibc "$program")
  [ "$(printf '%s\n' "$newest" "$glibc" | sort -V | tail -1)" = "$glibc" ] ||
    fail "$program needs glibc $newest, not $glibc"
  size=$(stat -c %s "$program")
  [ "$size" -le "$max_bytes" ] || fail "$program has $size bytes, more than $max_bytes"
}

# Writes the manual pages and the completions with the program $1.
write_pages() {
  local shell
  rm -rf "$pages"
  mkdir -p "$pages/man" "$pages/completions"
  "$1" man --dir "$pages/man"
  gzip -9n "$pages/man/"*
  for shell in bash zsh fish; do
    "$1" completions "$shell" >"$pages/completions/$shell"
  done
}

get_tools
rm -rf "$out"
mkdir -p "$out"
built=()
for processor in x86_64 aarch64; do
  if can_build "$processor-unknown-linux-gnu"; then
    build "$processor"
    built+=("$processor")
  else
    echo "make dist: not for $processor; first: rustup target add $processor-unknown-linux-gnu"
  fi
done
write_pages "$out/kvs-$(uname -m)"
for processor in "${built[@]}"; do
  cargo deb --quiet --locked --no-build --no-strip --profile dist --target "$processor-unknown-linux-gnu" --output "$out/"
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
tests/dist.sh "$out"
ls -l "$out"
