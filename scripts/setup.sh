#!/bin/sh
# Make .venv, and install the given requirements file into it.
# Installs nothing when that has been done for this file, folder and Python.
set -eu

requirements=$1
cd "$(dirname "$0")/.."
stamp=.venv/$requirements.stamp

say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# A virtual environment breaks when its folder moves or its Python goes.
state() {
    pwd -P
    .venv/bin/python -V
    cat requirements.txt "$requirements"
}

usable() {
    grep -qsF "$(pwd -P)/.venv" .venv/bin/activate &&
        new_enough .venv/bin/python &&
        .venv/bin/python -m pip --version >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" && python=$PYTHON && return
        die "PYTHON=$PYTHON is not a Python 3.11 or later."
    fi
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        new_enough "$python" && return
    done
    found=$(python3 -V 2>/dev/null || echo "no python3")
    die "Kissa needs Python 3.11 or later; this machine has $found." \
        "Name another one with: make setup PYTHON=/path/to/python"
}

make_venv() {
    find_python
    # Debian ships the module venv without ensurepip, which it needs.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        sh scripts/apt-install.sh "$(basename "$python")-venv" ||
            die "$python cannot make virtual environments."
    fi
    say "making .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
}

# The service's user may not write here, and would compile everything at each start.
compile() {
    .venv/bin/python -m compileall -q ./*.py blueprints deploy migrations ||
        say "going on without compiled code"
}

if [ -f "$stamp" ] && state 2>/dev/null | cmp -s - "$stamp"; then
    compile
    exit 0
fi

if ! usable; then
    make_venv
fi

say "installing $requirements"
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --requirement "$requirements"
state >"$stamp.new"
mv "$stamp.new" "$stamp"
compile
