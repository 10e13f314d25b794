#!/usr/bin/env bash
# Packs a binary with all that it loads into FOLDER/rootfs.tar, the files of outflow's image, and the list of what is in it
# into FOLDER/sbom.cdx.json. On Debian or Ubuntu, as any user. The same files make the same archive, byte for byte.
#
#   docker/pack.sh BINARY FOLDER
set -euo pipefail

binary=$1 folder=$2
here=$(dirname "$0")
# No link names these; hdfs-native opens the first by name when a NameNode wants Kerberos, and that opens the others.
kerberos=libgssapi_krb5.so.2
plugins=krb5/plugins/preauth
certificates=/etc/ssl/certs/ca-certificates.crt
user=65532

fail() {
    echo "pack: $*" >&2
    exit 1
}

library_folder() { # where this machine's libraries are
    local libc
    libc=$(ldd "$binary" | awk '$1 == "libc.so.6" { print $3 }')
    [ -n "$libc" ] || fail "$binary isn't a dynamically linked program"
    dirname "$libc"
}

needed_by() { # files... -> their shared libraries, the loader among them
    ldd "$@" | awk '
        $2 == "=>" && $3 == "not" { print "missing:" $1 }
        $2 == "=>" && $3 ~ /^\// { print $3 }
        $1 ~ /^\// && NF == 2 { print $1 }' | sort -u
}

# Debian's /lib is a link to /usr/lib, and packages own files by either name.
package_of() {
    local path=${1#/usr}
    dpkg-query --search "$path" 2>/dev/null || dpkg-query --search "/usr$path" 2>/dev/null || fail "no package owns $1"
}

place() { # file: under the same name, without what is only for debugging
    local target=$root/usr/${1#/}
    target=${target/\/usr\/usr\//\/usr\/}
    install -D -m "$2" "$(readlink -f "$1")" "$target"
}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$folder"
mkdir -p "$root"/{etc/outflow,etc/ssl/certs,tmp,usr/bin,usr/lib,usr/lib64,usr/share/sbom,var/lib/outflow,var/lib/dpkg/status.d}
ln -s usr/bin "$root/bin"
ln -s usr/lib "$root/lib"
ln -s usr/lib64 "$root/lib64"

# Names of functions stay, for panics; lines go. STRIP=--strip-all lets the names go, too.
strip "${STRIP:---strip-debug}" -o "$root/usr/bin/outflow" "$binary"
chmod 755 "$root/usr/bin/outflow"

libraries=$(library_folder)
[ -e "$libraries/$kerberos" ] || fail "$libraries/$kerberos isn't there: apt-get install libgssapi-krb5-2"
opened=("$libraries/$kerberos")
for plugin in "$libraries/$plugins"/*.so; do
    [ -e "$plugin" ] && opened+=("$plugin")
done
needed=$(needed_by "$binary" "${opened[@]}")
mapfile -t files < <(printf '%s\n' "$needed" "${opened[@]}")
for file in "${files[@]}"; do
    case $file in missing:*) fail "${file#missing:} isn't there" ;; esac
    place "$file" 755
done

[ -s "$certificates" ] || fail "$certificates isn't there: apt-get install ca-certificates"
install -m 644 "$certificates" "$root$certificates"
place /usr/lib/os-release 644
ln -s ../usr/lib/os-release "$root/etc/os-release"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\noutflow:x:%s:%s:outflow:/:/sbin/nologin\n' "$user" "$user" >"$root/etc/passwd"
printf 'root:x:0:\noutflow:x:%s:\n' "$user" >"$root/etc/group"

# Scanners find Debian's packages here, and people their licences.
owners=$(for file in "${files[@]}"; do package_of "$file"; done)
mapfile -t packages < <(printf '%s\n' "$owners" ca-certificates | sed 's/: .*//; s/:[a-z0-9]*$//' | sort -u)
for package in "${packages[@]}"; do
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    install -D -m 644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
done

"$here/sbom.sh" "${packages[@]}" >"$folder/sbom.cdx.json"
install -m 644 "$folder/sbom.cdx.json" "$root/usr/share/sbom/outflow.cdx.json"

chmod -R go-w "$root"
chmod 755 "$root"
chmod 1777 "$root/tmp"
moment=${SOURCE_DATE_EPOCH:-0}
archive() { # owner files...
    local owner=$1
    shift
    tar --create --sort=name --format=gnu --mtime="@$moment" --numeric-owner --owner="$owner" --group="$owner" --directory "$root" "$@"
}
archive 0 --exclude=./var/lib/outflow --file "$folder/rootfs.tar" .
# A fresh volume takes its owner from the folder that it is mounted on.
archive "$user" --file "$folder/state.tar" ./var/lib/outflow
tar --concatenate --file "$folder/rootfs.tar" "$folder/state.tar"
rm "$folder/state.tar"
