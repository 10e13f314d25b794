#!/usr/bin/env bash
# Makes the image outflow:VERSION of a binary, by podman or docker, and says how large it is, who runs it, and what it may do.
#
#   docker/image.sh BINARY     ENGINE=docker another engine, flags and all; RUN_FLAGS='--ulimit …' what `run` needs here
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$1
max_mb=60
read -ra engine <<<"${ENGINE:-$(command -v podman || command -v docker || true)}"
[ ${#engine[@]} -gt 0 ] || { echo "image: neither podman nor docker is there" >&2; exit 1; }
version=$("$binary" --version | cut -d ' ' -f 2)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
created=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
folder=${CARGO_TARGET_DIR:-target}/image
name=outflow:$version

docker/pack.sh "$binary" "$folder"
flags=(--file docker/Dockerfile --target ready --tag "$name")
flags+=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created")
case $(basename "${engine[0]}") in
    # Its own format has no health checks.
    podman) flags+=(--format docker) ;;
esac
"${engine[@]}" build "${flags[@]}" "$folder" >"$folder/build.log" 2>&1 || { cat "$folder/build.log" >&2; exit 1; }

ask() { "${engine[@]}" image inspect --format "$1" "$name"; }
bytes=$(ask '{{.Size}}')
echo "image      $name ($(ask '{{.Id}}' | sed 's/^sha256://' | cut -c 1-12)), revision ${revision:0:12}"
echo "size       $((bytes / 1000000)) MB, of at most $max_mb"
echo "user       $(ask '{{.Config.User}}')"
echo "command    $(ask '{{.Config.Entrypoint}} {{.Config.Cmd}}')"
echo "contents   $folder/sbom.cdx.json, and in the image as /usr/share/sbom/outflow.cdx.json"
hardened=(--rm --network none --read-only --cap-drop all --security-opt no-new-privileges)
# shellcheck disable=SC2086
if said=$("${engine[@]}" run "${hardened[@]}" ${RUN_FLAGS:-} "$name" --version 2>&1); then
    echo "runs       read-only, without capabilities: $(tail -n 1 <<<"$said")"
else
    echo "NOT RUN    ${engine[0]} can't run it here (RUN_FLAGS may help): $(tail -n 1 <<<"$said")"
fi
[ "$bytes" -lt "${max_mb}000000" ] || { echo "image: larger than $max_mb MB" >&2; exit 1; }
