#!/usr/bin/env bash
# Breaks outflow on purpose, one patch at a time, in a copy of the tree, and demands that the tests notice.
#
#   tests/mutants/run.sh              every mutant
#   tests/mutants/run.sh NAME...      these
#   tests/mutants/run.sh --some N     so many, others with each commit
#
# A patch lies in the folder of the test that has to catch it: simulation/, step_tables/ (those of the control
# and the tracker), commit_log_model/, log_tables/ (those of the commit log), fuzz/; what stands before a dot in its
# name narrows that down. One is built while those before it are tested. For each it says what caught it. Exit
# code 1 if one survives, or doesn't fit the code any more, or if a test fails without one.
#
# MUTANT_TIMEOUT: seconds that the test of one may take. MUTANT_SECONDS: none but the first is begun later than that; the
# others are named.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
mutants=$root/tests/mutants
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export RUST_BACKTRACE=0 CARGO_PROFILE_DEV_DEBUG=0
export OUTFLOW_SIM_SEEDS=${OUTFLOW_SIM_SEEDS:-9999} OUTFLOW_FUZZ_SECONDS=${OUTFLOW_FUZZ_SECONDS:-5}
work=$CARGO_TARGET_DIR/mutants
limit=${MUTANT_TIMEOUT:-300}
jobs=$(nproc)
end=${MUTANT_SECONDS:-}

# A fresh copy, every file newer than what was built from an earlier one. The testbed isn't used: its manifest
# stays, so that all dependencies are those that were built for the tests already.
copy() { # directory
    mkdir -p "$1"
    (cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --create --files-from=-) |
        tar --extract --touch --directory="$1"
    rm -rf "$1"/testbed/src/* "$1"/testbed/tests
    touch "$1/testbed/src/lib.rs"
    sed --in-place 's/^name = "outflow"$/&\nautobins = false/' "$1/Cargo.toml"
}

# A library of these modules alone: a build takes seconds.
modules() { # directory, modules
    printf 'pub mod %s;\n' "${@:2}" >"$1/src/lib.rs"
}

# The pipeline knows no sink, client or option.
pipeline_alone() { # directory
    modules "$1" backoff clock config error journal lag metrics notify offsets pipeline sinks status
    sed --in-place --regexp-extended '/^pub mod (elasticsearch|hdfs);/d' "$1/src/sinks/mod.rs"
    echo 'pub mod settings;' >"$1/src/config/mod.rs"
    # Among the settings are those of notifiers, which know the monitor.
    echo 'pub mod settings;' >"$1/src/notify/mod.rs"
    echo '#[derive(Debug, Clone)] pub struct NotifierSettings;' >"$1/src/notify/settings.rs"
}

# The commit log knows nothing but offsets and errors.
log_alone() { # directory
    modules "$1" error offsets sinks
    echo 'pub mod hdfs;' >"$1/src/sinks/mod.rs"
    echo 'pub mod log;' >"$1/src/sinks/hdfs/mod.rs"
}

# What only wires the rest isn't needed.
parsers_alone() { # directory
    sed --in-place --regexp-extended '/^pub mod (cli|service);/d' "$1/src/lib.rs"
}

# Builds a test in a tree and puts its program where it stays.
build() { # tree, target (as cargo names it), program
    local log=$3.log
    (cd "$1" && cargo test --quiet --locked -p outflow $2 --no-run --message-format=json) >"$log.json" 2>"$log" || {
        jq -r 'select(.message) | .message.rendered' "$log.json" 2>/dev/null || cat "$log.json" "$log"
        return 1
    }
    cp "$(grep -o '"executable":"[^"]*"' "$log.json" | tail -n 1 | cut -d '"' -f 4)" "$3"
}

tree_of() { # folder of the patch
    case $1 in
    simulation | step_tables) echo pipeline ;;
    commit_log_model | log_tables) echo log ;;
    *) echo parsers ;;
    esac
}

# What cargo builds for a folder, and which of its tests are run.
target_of() { [[ $1 = *_tables ]] && echo --lib || echo "--test $1"; }
filter_of() { # folder/name
    case $1 in
    */*.*) echo "${1#*/}" | cut -d . -f 1 ;;
    simulation/*) echo every_promise ;;
    step_tables/*) echo pipeline::control offsets ;;
    log_tables/*) echo step_tests ;;
    *) echo holds:: ;;
    esac
}

# Without a mutant: all that its neighbours are held against.
filters_of() { # folder/name
    [ "${1#*/}" = unbroken ] || { filter_of "$1" && return; }
    for name in "${names[@]}"; do
        [ "${name%/*}" != "${1%/*}" ] || filter_of "$name"
    done | sort -u
}

# Tests a program beside what goes on; its exit code stands in a file then.
run() { # folder/name
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    (
        program=$work/run/$1 code=0
        [ "${1#*/}" != unbroken ] || export OUTFLOW_SIM_SEEDS=500
        timeout "$limit" "$program" $(filters_of "$1") >"$program.out" 2>&1 || code=$?
        rm "$program"
        echo "$code" >"$program.code"
        [ "${1#*/}" = unbroken ] || verdict "$1"
    ) &
}

verdict() { # folder/name
    local out=$work/run/$1.out found
    found=$(grep -m1 -oE '^seed [0-9]+: .{0,110}' "$out" || grep -m1 -A1 panicked "$out" | tail -n 1 | cut -c 1-120 || true)
    case $(cat "$work/run/$1.code") in
    0) echo "$1: SURVIVES" ;;
    101) echo "$1: caught ($found)" ;;
    *) echo "$1: NO VERDICT, see $out" ;;
    esac
}

all() { (cd "$mutants" && printf '%s\n' */*.patch); }

if [ "${1:-}" = --some ]; then
    commit=$(git -C "$root" rev-parse HEAD 2>/dev/null || date +%j)
    mapfile -t names < <(all | while read -r name; do
        echo "$(echo "$commit $name" | sha1sum | cut -c 1-8) $name"
    done | sort | head -n "$2" | cut -d ' ' -f 2)
elif [ $# -gt 0 ]; then
    names=()
    for name in "$@"; do names+=("$(cd "$mutants" && echo */"${name#*/}".patch)"); done
else
    mapfile -t names < <(all)
fi
names=("${names[@]%.patch}")

rm -rf "$work/run" "$work/pipeline" "$work/log" "$work/parsers"
begun=() left=()
is_late() { [ -n "$end" ] && [ "$SECONDS" -ge "$end" ] && [ ${#begun[@]} -gt 0 ]; }
of_folder() { printf '%s\n' "${names[@]}" | grep "^$1/"; }
# In the order of the names: where time is short it isn't always the same folder that is left out.
for folder in $(printf '%s\n' "${names[@]%/*}" | awk '!seen[$0]++'); do
    if is_late; then
        mapfile -t -O "${#left[@]}" left < <(of_folder "$folder")
        continue
    fi
    mkdir -p "$work/run/$folder"
    tree=$work/$(tree_of "$folder")
    if [ ! -d "$tree" ]; then
        copy "$tree"
        "$(tree_of "$folder")_alone" "$tree"
    fi
    # A test that fails anyway proves nothing.
    build "$tree" "$(target_of "$folder")" "$work/run/$folder/unbroken"
    run "$folder/unbroken"
    for name in "${names[@]}"; do
        [ "${name%/*}" = "$folder" ] || continue
        if is_late; then
            left+=("$name")
            continue
        fi
        begun+=("$name")
        patch --quiet --directory="$tree" --strip=1 <"$mutants/$name.patch"
        build "$tree" "$(target_of "$folder")" "$work/run/$name"
        patch --quiet --directory="$tree" --strip=1 --reverse <"$mutants/$name.patch"
        run "$name"
    done
done
wait

bad=()
code() { cat "$work/run/$1.code" 2>/dev/null || true; }
for name in "${begun[@]}"; do [ "$(code "$name")" = 101 ] || bad+=("$name"); done
for folder in "$work"/run/*/; do
    folder=$(basename "$folder")
    [ "$(code "$folder/unbroken")" = 0 ] || bad+=("$folder without a mutant")
done
[ ${#bad[@]} -eq 0 ] || {
    echo "not as it should be:"
    printf '  %s\n' "${bad[@]}"
    exit 1
}
echo "${#begun[@]} mutants, all caught"
[ ${#left[@]} -eq 0 ] || echo "not begun within $end s: ${left[*]}"
