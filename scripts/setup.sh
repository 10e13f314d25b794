#!/usr/bin/env bash
# Sees to what outflow's build, tests and demo need on Debian or Ubuntu: as root it installs what is
# missing, otherwise it says exactly what to install. Does nothing when everything is there.
set -euo pipefail

rust_wanted=1.95

missing=()
need_command() { # command package
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need_library() { # pkg-config name, header, package
    pkg-config --exists "$1" 2>/dev/null || [ -e "/usr/include/$2" ] || missing+=("$3")
}

java_major() {
    local java=java
    if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then
        java=$JAVA_HOME/bin/java
    fi
    "$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1
}

# The newest Debian and Ubuntu have a later JDK than 17, which serves as well.
jdk_package() {
    local version
    for version in 17 21; do
        if apt-cache show "openjdk-$version-jdk-headless" >/dev/null 2>&1; then
            echo "openjdk-$version-jdk-headless"
            return
        fi
    done
    echo openjdk-17-jdk-headless
}

find_missing() {
    missing=()
    need_command mvn maven
    need_command gcc gcc
    need_command g++ g++
    need_command make make
    need_command pkg-config pkg-config
    need_command setpriv util-linux
    need_command setsid util-linux
    need_command git git
    need_command patch patch
    need_command curl curl
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    need_library openssl openssl/ssl.h libssl-dev
    need_library zlib zlib.h zlib1g-dev
    if [ -n "${WITH_FAKETIME:-}" ]; then
        ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
    fi
    if [ -n "${WITH_BROWSER:-}" ]; then
        command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || need_command chromium chromium
    fi
    if [ -n "${WITH_PROMETHEUS:-}" ]; then
        need_command prometheus prometheus
        need_command prometheus-alertmanager prometheus-alertmanager
    fi
    if [ -n "${WITH_BENCH:-}" ]; then
        need_command kcat kcat
        need_command zstd zstd
        ls /usr/lib/*/rsyslog/imkafka.so >/dev/null 2>&1 || missing+=(rsyslog-kafka)
        ls /usr/lib/*/rsyslog/omelasticsearch.so >/dev/null 2>&1 || missing+=(rsyslog-elasticsearch)
    fi
    local major
    major=$(java_major || true)
    if [ -z "$major" ] || [ "$major" -lt 17 ]; then
        missing+=("$(jdk_package)")
    fi
}

find_missing
if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: missing (Debian's names): ${missing[*]}" >&2
        echo "setup: this isn't Debian or Ubuntu; please install them your system's way." >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: some packages are missing, and only root can install them. Please run:" >&2
        echo "    sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
    apt-get update -q
    # Only now does a new machine know which packages there are.
    find_missing
    echo "setup: installing ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    # Debian starts these as services; only their programs are wanted.
    for service in prometheus prometheus-alertmanager; do
        if [[ " ${missing[*]} " == *" $service "* ]] && [ -d /run/systemd/system ]; then
            systemctl disable --now "$service"
        fi
    done
fi

# Containers are tested where they can be had. Where they can't, the tests say so, and nothing fails.
if [ -n "${WITH_CONTAINERS:-}" ] && ! command -v podman >/dev/null 2>&1; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "setup: podman is missing, so no container is tested. To have that: sudo apt-get install -y podman runc catatonit" >&2
    elif ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends podman runc; }; then
        echo "setup: podman can't be installed, so no container is tested" >&2
    # What holds a pod's containers together.
    elif ! DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends catatonit; then
        echo "setup: catatonit can't be installed, so containers are tested, and no pods" >&2
    fi
fi

if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH=$HOME/.cargo/bin:$PATH
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: Rust $rust_wanted or newer is missing. Please install it for this user, then start again:" >&2
    echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default" >&2
    exit 1
fi
rust_found=$(rustc --version | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
if [ "$(printf '%s\n' "$rust_wanted" "$rust_found" | sort -V | head -n 1)" != "$rust_wanted" ]; then
    echo "setup: Rust $rust_wanted or newer is needed, this is $rust_found. Please run: rustup update stable" >&2
    exit 1
fi
for component in rustfmt clippy; do
    tool=cargo-${component/rustfmt/fmt}
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "setup: Rust's $component is missing. Please run: rustup component add $component" >&2
        exit 1
    fi
done
