#!/usr/bin/env bash
# Runs each fuzz target for some seconds: fuzz/run.sh [SECONDS [TARGET...]]. Without TARGET it runs all of src/bin/.
#
# The flags are those of `cargo fuzz -s none`, so it needs only the stable compiler and a C++ compiler. Interesting
# inputs are kept in fuzz/corpus/TARGET. An input that fails is kept in fuzz/artifacts/TARGET, and its name is printed.
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
# With `--target` the flags do not apply to build scripts, which could not link with them.
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
