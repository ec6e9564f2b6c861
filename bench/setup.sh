#!/bin/sh
# Install what the benchmarks need besides Kissa: wrk, nginx and curl by apt, copyparty into
# bench/.venv. Where that fails, the benchmarks still run: they leave out what is missing, and say so.
set -eu

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

missing=
for pair in wrk:wrk nginx:nginx-light curl:curl; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086  # a list of words
    sh scripts/apt-install.sh $missing || echo "bench: going on without:$missing" >&2
fi

cmp -s bench/requirements.txt bench/.venv/stamp && [ -x bench/.venv/bin/copyparty ] && exit 0
echo "bench: installing copyparty into bench/.venv"
rm -rf bench/.venv
{
    .venv/bin/python -m venv bench/.venv &&
        bench/.venv/bin/python -m pip install --quiet --disable-pip-version-check \
            --requirement bench/requirements.txt &&
        cp bench/requirements.txt bench/.venv/stamp
} || echo "bench: going on without copyparty" >&2
