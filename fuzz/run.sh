#!/usr/bin/env bash
# Runs fuzz targets for some seconds each: fuzz/run.sh [SECONDS [TARGET...]]. All of src/bin/ if none is named.
#
# The flags are those of `cargo fuzz -s none`, so the stable compiler and a C++ compiler are all it takes. Inputs that
# were interesting are kept in fuzz/corpus/TARGET; one that fails is left in fuzz/artifacts/TARGET, and its name printed.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-10}
shift || true
if [ $# -eq 0 ]; then
  for file in src/bin/*.rs; do
    set -- "$@" "$(basename "$file" .rs)"
  done
fi

export RUSTFLAGS="-Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  --cfg fuzzing"
# With a target named, the flags do not reach build scripts, which could not link with them.
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --locked --bins --target "$host" --target-dir target

for name; do
  mkdir -p "corpus/$name" "artifacts/$name"
  seeds=()
  [ ! -d "seeds/$name" ] || seeds=("seeds/$name")
  log=$(mktemp)
  if "target/$host/debug/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="artifacts/$name/" "corpus/$name" "${seeds[@]}" >"$log" 2>&1; then
    echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s, none failed"
    rm -f "$log"
  else
    tail -n 40 "$log" >&2
    rm -f "$log"
    echo "fuzz $name: failed; the input is in fuzz/artifacts/$name" >&2
    exit 1
  fi
done
