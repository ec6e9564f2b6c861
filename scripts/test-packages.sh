#!/bin/sh
# Install what tests need besides Python.
# Where that fails tests still run: they skip, and name what they lack.
set -eu

# command:package
wanted="curl:curl jq:jq shellcheck:shellcheck desktop-file-validate:desktop-file-utils
nginx:nginx-light openssl:openssl systemd-analyze:systemd ffmpeg:ffmpeg chromium:chromium
strace:strace node:nodejs npm:npm mkfs.ext4:e2fsprogs losetup:mount exiftool:libimage-exiftool-perl
ceph:ceph-common ceph-mon:ceph-mon ceph-osd:ceph-osd radosgw:radosgw initdb:postgresql
update-ca-certificates:ca-certificates"

# nginx and its like live where a user's PATH does not look, and PostgreSQL's tools nowhere in it.
PATH=$PATH:/usr/sbin:/sbin
for folder in /usr/lib/postgresql/*/bin; do
    PATH=$PATH:$folder
done

missing=
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

# Debian's PostgreSQL makes a database of its own when it is installed, unless this file is there
# before it; what is there already stays.
settings=/etc/postgresql-common/createcluster.conf
case $missing in *" postgresql"*)
    if [ "$(id -u)" -eq 0 ] && [ ! -e "$settings" ]; then
        mkdir -p "${settings%/*}"
        echo "create_main_cluster = false" >"$settings"
    fi
    ;;
esac

cd "$(dirname "$0")"
# shellcheck disable=SC2086  # a list of words
sh apt-install.sh $missing ||
    echo "test-packages: going on without:$missing" >&2
