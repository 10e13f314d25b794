#!/usr/bin/env bash
# What outflow's binary is made of, as CycloneDX: the crates of Cargo.lock that are in it, with the graph of who needs whom;
# the C libraries that crates bring along; and the Debian packages that are named, which the image carries.
#
#   docker/sbom.sh [PACKAGE ...]
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
# A crate a line: depth|name version (source)|licence|repository. Each is unfolded where it comes first.
crates=$(cargo tree --locked --package outflow --edges normal,no-proc-macro --target "$host" --prefix depth --format '|{p}|{l}|{r}')
[ -n "$crates" ] || { echo "sbom: cargo tree says nothing" >&2; exit 1; }

source_of() { # crate version -> its folder
    local found
    found=$(cargo metadata --locked --format-version 1 --filter-platform "$host" |
        grep -o "\"[^\"]*/$1-[^\"/]*/Cargo.toml\"" | sort -u | tr -d '"' | grep -F "/$1-$2/" | head -n 1)
    [ -n "$found" ] || { echo "sbom: the sources of $1 $2 aren't there" >&2; exit 1; }
    dirname "$found"
}
version_of() { # crate -> its version
    sed -n "s/^[0-9]*|$1 v\([^ |]*\).*/\1/p" <<<"$crates" | head -n 1
}
defined() { # macro file -> its value, without quotes and blanks
    sed -n "s/^#define *$1 *\"\{0,1\}\([^\" /]*\).*/\1/p" "$2" | head -n 1
}

# The C that is compiled in: name|version|licence|purl|the crate that brings it. Versions are read from the sources.
rdkafka=$(version_of rdkafka-sys) zstd=$(version_of zstd-sys) libz=$(version_of libz-sys)
rdkafka_src=$(source_of rdkafka-sys "$rdkafka")/librdkafka/src
libz_src=$(source_of libz-sys "$libz")/src/zlib
zstd_src=$(source_of zstd-sys "$zstd")/zstd/lib
lz4=$(for part in MAJOR MINOR RELEASE; do defined "LZ4_VERSION_$part" "$rdkafka_src/lz4.h"; done | paste -sd .)
zstd_c=$(for part in MAJOR MINOR RELEASE; do defined "ZSTD_VERSION_$part" "$zstd_src/zstd.h"; done | paste -sd .)
zlib=$(defined ZLIB_VERSION "$libz_src/zlib.h")
cjson=$(for part in MAJOR MINOR PATCH; do defined "CJSON_VERSION_$part" "$rdkafka_src/cJSON.h"; done | paste -sd .)
bundled="librdkafka|${rdkafka#*+}|BSD-2-Clause|pkg:github/confluentinc/librdkafka@v${rdkafka#*+}|rdkafka-sys
lz4|$lz4|BSD-2-Clause|pkg:github/lz4/lz4@v$lz4|rdkafka-sys
cJSON|$cjson|MIT|pkg:github/DaveGamble/cJSON@v$cjson|rdkafka-sys
zstd|$zstd_c|BSD-3-Clause|pkg:github/facebook/zstd@v$zstd_c|zstd-sys
zlib|$zlib|Zlib|pkg:github/madler/zlib@v$zlib|libz-sys"
while IFS='|' read -r name version _; do
    [[ $version =~ ^[0-9]+(\.[0-9]+)+$ ]] || { echo "sbom: the version of $name isn't found" >&2; exit 1; }
done <<<"$bundled"

packages=''
if [ $# -gt 0 ]; then
    packages=$(dpkg-query --show --showformat='${Package}|${Version}|${Architecture}\n' "$@")
    distribution=$(. /etc/os-release; echo "$ID")
fi
checksums=$(awk -F'"' '$1 == "name = " { n = $2 } $1 == "version = " { v = $2 } $1 == "checksum = " { print n "|" v "|" $2 }' Cargo.lock)

{
    sed 's/^/lock|/' <<<"$checksums"
    sed 's/^/tree|/' <<<"$crates"
    sed 's/^/c|/' <<<"$bundled"
    [ -z "$packages" ] || sed "s/^/deb|${distribution:-debian}|/" <<<"$packages"
} | awk -F'|' -f docker/sbom.awk
