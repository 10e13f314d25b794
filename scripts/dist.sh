#!/usr/bin/env bash
# Builds what is released, into target/archives: a binary for x86-64 and one for arm64, each in an archive with its examples, and
# SHA256SUMS. The binaries need glibc 2.28 or newer (RHEL 8, Debian 10, Ubuntu 20.04), nothing else: all C libraries are in
# them. (Not musl: Kerberos, where the HDFS sink uses it, is loaded when it is needed.)
#
#   scripts/dist.sh             both
#   scripts/dist.sh aarch64     that one
#
# Needs zig and cargo-zigbuild (pip install ziglang cargo-zigbuild), perl, and the two targets (rustup target add
# x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu). With cargo-auditable the binaries name their dependencies, so that
# `cargo audit bin` can judge them. The same sources, toolchain and folder should make the same bytes: times, names and paths of
# the machine are kept out.
set -euo pipefail
cd "$(dirname "$0")/.."

glibc=2.28
build=${CARGO_TARGET_DIR:-$PWD/target}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
read -ra architectures <<<"${*:-x86_64 aarch64}"

if ! command -v cargo-zigbuild >/dev/null 2>&1; then
    echo "dist: cargo-zigbuild is missing: pip install ziglang cargo-zigbuild" >&2
    exit 1
fi
auditable=auditable
if ! command -v cargo-auditable >/dev/null 2>&1; then
    echo "dist: cargo-auditable is missing (cargo install cargo-auditable): the binaries won't name their dependencies" >&2
    auditable=
fi

# librdkafka's configure asks for CC and AR, and not for those of a target.
tool() { # name, command
    printf '#!/bin/sh\nexec cargo-zigbuild zig %s "$@"\n' "$2" >"$tools/$1"
    chmod +x "$tools/$1"
}

compile() { # architecture
    local target=$1-unknown-linux-gnu
    tools=$build/dist-tools/$1
    mkdir -p "$tools"
    tool cc "cc -- -target $1-linux-gnu.$glibc"
    tool cxx "c++ -- -target $1-linux-gnu.$glibc"
    tool ar "ar --"
    tool ranlib "ranlib --"
    # Statically linked, OpenSSL doesn't know where the machine has its certificates: librdkafka then looks for them.
    # And it makes a shared library, too, which nobody needs: its list of symbols has one that isn't there.
    CC=$tools/cc CXX=$tools/cxx AR=$tools/ar RANLIB=$tools/ranlib LDFLAGS=-Wl,--undefined-version \
        CFLAGS="-DWITH_STATIC_LIB_libcrypto=1 -ffile-prefix-map=$build=/build -ffile-prefix-map=$cargo_home=/cargo" \
        RUSTFLAGS="--remap-path-prefix=$PWD=/outflow --remap-path-prefix=$build=/build --remap-path-prefix=$cargo_home=/cargo" \
        cargo ${auditable:+auditable} zigbuild --locked --profile dist --target "$target.$glibc" \
        --features vendored-openssl --package outflow --bin outflow
    pack "$1" "$build/$target/dist/outflow"
}

# OpenSSL keeps the folder that it was built in, to look for engines and providers there: on another machine that may be
# anybody's. As many bytes that are nobody's folder take its place, and that of the compiler that it names.
forget_folders() { # binary
    local folder
    for folder in "$build" "$cargo_home" "$HOME/.cache"; do
        FOLDER=$folder perl -0777 -pi -e 's{\Q$ENV{FOLDER}\E}{"/" . "x" x (length($ENV{FOLDER}) - 1)}ge' "$1"
    done
}

pack() { # architecture, binary
    local name=outflow-$version-linux-$1
    rm -rf "${build:?}/archives/$name"
    mkdir -p "$build/archives/$name"
    forget_folders "$2"
    cp "$2" LICENSE README.md CHANGELOG.md "$build/archives/$name/"
    cp -r config "$build/archives/$name/"
    mkdir -p "$build/archives/$name/deploy"
    cp -r deploy/systemd deploy/prometheus deploy/grafana "$build/archives/$name/deploy/"
    tar --create --directory "$build/archives" --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
        --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip --no-name -9 >"$build/archives/$name.tar.gz"
    rm -rf "${build:?}/archives/$name"
}

cargo_home=${CARGO_HOME:-$HOME/.cargo}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0
mkdir -p "$build/archives"
for architecture in "${architectures[@]}"; do
    compile "$architecture"
done
(cd "$build/archives" && sha256sum outflow-"$version"-linux-*.tar.gz >SHA256SUMS)
cat "$build/archives/SHA256SUMS"
