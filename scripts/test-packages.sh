#!/bin/sh
# Install what tests need besides Python.
# Where that fails tests still run: they skip, and name what they lack.
set -eu

# command:package
wanted="curl:curl jq:jq shellcheck:shellcheck desktop-file-validate:desktop-file-utils
nginx:nginx-light openssl:openssl systemd-analyze:systemd ffmpeg:ffmpeg chromium:chromium
strace:strace node:nodejs npm:npm mkfs.ext4:e2fsprogs losetup:mount exiftool:libimage-exiftool-perl"

# nginx and its like live where a user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

missing=
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

cd "$(dirname "$0")"
# shellcheck disable=SC2086  # a list of words
sh apt-install.sh $missing ||
    echo "test-packages: going on without:$missing" >&2
