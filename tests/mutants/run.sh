#!/usr/bin/env bash
# Breaks the pipeline on purpose, one patch at a time, in a copy of the tree, and demands that the tests notice.
#
#   tests/mutants/run.sh              every mutant
#   tests/mutants/run.sh NAME...      these
#
# For each it says who caught it: the simulation, or else the step tables of the control and the tracker. Exit
# code 1 if one survives both. Slow (a build for each), so it is not part of `make test`.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export OUTFLOW_SIM_SEEDS=${OUTFLOW_SIM_SEEDS:-3000} RUST_BACKTRACE=0 CARGO_PROFILE_DEV_DEBUG=0
tree=$CARGO_TARGET_DIR/mutants
log=$CARGO_TARGET_DIR/mutants.log
limit=${MUTANT_TIMEOUT:-900}

# A fresh copy, every file newer than what was built from an earlier one.
rm -rf "$tree" && mkdir -p "$tree"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --create --files-from=-) |
    tar --extract --touch --directory="$tree"

# The pipeline knows no sink, client or option, so it is built alone: a build takes seconds.
sed --in-place 's/^name = "outflow"$/&\nautobins = false/' "$tree/Cargo.toml"
sed --in-place --regexp-extended '/^pub mod (admin|agent|check|cli|kafka|logging|service);/d' "$tree/src/lib.rs"
sed --in-place --regexp-extended '/^pub mod (elasticsearch|hdfs);/d' "$tree/src/sinks/mod.rs"
echo 'pub mod settings;' >"$tree/src/config/mod.rs"

mutate() { patch --quiet --directory="$tree" --strip=1 "$@" <"$root/tests/mutants/$name.patch"; }

tests() { (cd "$tree" && timeout "$limit" cargo test --quiet --locked -p outflow "$@") >"$log" 2>&1; }

if [ $# -gt 0 ]; then names=("$@"); else
    names=()
    for patch in "$root"/tests/mutants/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi

survivors=()
for name in "${names[@]}"; do
    mutate
    if ! tests --test simulation --no-run; then
        echo "$name: doesn't compile, mend the patch:"
        cat "$log"
        exit 1
    fi
    if ! tests --test simulation; then
        found=$(grep -m1 -oE '^seed [0-9]+: .{0,110}' "$log" || grep -m1 panicked "$log" || echo "no verdict within $limit s")
        echo "$name: caught by the simulation ($found)"
    elif ! tests --lib pipeline::control || ! tests --lib offsets; then
        echo "$name: caught by the step tables"
    else
        echo "$name: SURVIVES"
        survivors+=("$name")
    fi
    mutate --reverse
done
[ ${#survivors[@]} -eq 0 ] || {
    echo "survivors: ${survivors[*]}"
    exit 1
}
