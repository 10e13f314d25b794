#!/usr/bin/env bash
# Runs all tests of the workspace, once they are built, in two lanes beside each other: they wait for servers more than
# they work. The files of a lane run one after another, the tests of a file take turns on one set of servers. The first
# lane is seen as it goes; what the other said is shown when it has ended. Exit code 1 if any test fails.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

cargo=${CARGO:-cargo}
log=${CARGO_TARGET_DIR:-target}/parts.log
# With all three servers, half an hour together; all else takes as long.
whole=(chaos end_to_end)

# Every other file, those that are still to be written too.
parts=()
for file in tests/*.rs tests/*/main.rs testbed/tests/*.rs; do
    name=$(basename "${file%/main.rs}" .rs)
    [[ " ${whole[*]} " = *" $name "* ]] || parts+=("--test=$name")
done

run() { "$cargo" test --workspace --locked --no-fail-fast "$@"; }

(
    code=0
    run --doc || code=1
    run --lib --bins "${parts[@]}" || code=1
    exit "$code"
) >"$log" 2>&1 &
other=$!
code=0
run "${whole[@]/#/--test=}" || code=1
wait "$other" || code=1
echo 'beside these:'
cat "$log"
exit "$code"
