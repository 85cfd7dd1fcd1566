#!/usr/bin/env bash
# Runs the long forms of the tests: tests/soak.sh MINUTES. Each part gets an equal share of the time, and fuzzing one too.
#
# A part is a group of tests that go on until SOAK_SECONDS have passed. Each of them prints a line:
#
#   soak NAME: faults N, acknowledged N, lost N, failed without a fault N
#
# At the end these lines are added up. The status is not 0 if anything was lost or failed, or if a part failed or printed
# no line.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:?"name the minutes, as in tests/soak.sh 30"}

# A test binary, and the filter of a part.
parts=(
  'it simulation::'
  'it histories::'
  'it faults::'
  'apache stress::'
)

cargo test --locked --no-run --quiet --test it --test apache
share=$((minutes * 60 / (${#parts[@]} + 1)))
lines=$(mktemp)
log=$(mktemp)
trap 'rm -f "$lines" "$log"' EXIT
failed=()

for part in "${parts[@]}"; do
  read -r binary filter <<<"$part"
  echo "== $filter for $share s"
  SOAK_SECONDS=$share cargo test --locked --quiet --test "$binary" -- --nocapture --test-threads 4 "$filter" 2>&1 |
    tee "$log" || failed+=("$filter failed")
  # The name of the test may be before it in the same line.
  grep -o 'soak [^ ]*: faults [0-9]*, acknowledged [0-9]*, lost [0-9]*, failed without a fault [0-9]*' "$log" \
    >>"$lines" || failed+=("$filter printed no line")
done

# The others compare kvs with other YAML readers.
mapfile -t targets < <(basename -s .rs fuzz/src/bin/*.rs | grep -v -x -e pyyaml -e yaml_readers)
each=$((share / ${#targets[@]}))
echo "== fuzzing for $share s"
fuzz/run.sh "$((each > 0 ? each : 1))" "${targets[@]}" || failed+=("a fuzz target failed")

echo
cat "$lines"
total=$(awk '
  match($0, /: faults .*/) {
    gsub(",", "")
    faults += $(NF - 9); acknowledged += $(NF - 7); lost += $(NF - 5); failed += $NF
  }
  END {
    printf "soak total: faults %d, acknowledged %d, lost %d, failed without a fault %d", faults, acknowledged, lost, failed
  }' "$lines")
echo "$total"
for text in "${failed[@]}"; do
  echo "soak: $text" >&2
done
[[ ${#failed[@]} -eq 0 && $total == *', lost 0, failed without a fault 0' ]]
