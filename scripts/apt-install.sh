#!/bin/sh
# Install the given Debian packages, without starting any service.
# Where that cannot be done, print the line that does it, and fail.
set -eu

policy=/usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive

if ! command -v apt-get >/dev/null; then
    echo "Missing on this system: $*" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Missing. Run: sudo apt-get install -y $*" >&2
    exit 1
fi

policy_text='#!/bin/sh
# Put here by scripts/apt-install.sh of Kissa while it installs packages.
exit 101'

# Packages ask policy-rc.d whether to start what they bring; 101 is no.
# One that is ours is a leftover of a killed run.
if [ ! -e "$policy" ] && [ ! -L "$policy" ] ||
    [ "$(cat "$policy" 2>/dev/null)" = "$policy_text" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    echo "$policy_text" >"$policy"
    chmod 755 "$policy"
fi

echo "Installing with apt-get: $*"
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" >/dev/null
