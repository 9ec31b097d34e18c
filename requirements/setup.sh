#!/bin/sh
# Makes a virtual environment with Python 3.10 from the lock: setup.sh VENV LOCK
# $PYTHON names an interpreter to use; otherwise one is looked for, and fetched with uv if there is none.
set -eu
venv=$1
lock=$2
uv="uv==0.13.9"
# Trust what the machine trusts (company proxies).
export UV_SYSTEM_CERTS=1 UV_NO_PROGRESS=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

is_310() {
    [ -n "$1" ] && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null
}

find_310() {
    # A pyenv shim called python3.10 may exist and fail, so each candidate must run.
    for candidate in "${PYTHON:-}" python3.10 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10.*/bin/python \
        "$HOME"/.local/share/uv/python/cpython-3.10*/bin/python3.10 /opt/homebrew/bin/python3.10 \
        /usr/local/bin/python3.10 python3 python; do
        if is_310 "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

quietly() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}

python=$(find_310)
if [ -z "$python" ]; then
    echo "No Python 3.10 here: fetching one with uv …"
    for any in python3 python; do command -v "$any" >/dev/null && break; done
    quietly "$any" -m venv "$venv.bootstrap"
    quietly "$venv.bootstrap/bin/python" -m pip install -q "$uv"
    quietly "$venv.bootstrap/bin/uv" python install 3.10
    python=$("$venv.bootstrap/bin/uv" python find 3.10)
    rm -rf "$venv.bootstrap"
fi

echo "Setting up $venv with $($python --version) (two to five minutes, once) …"
quietly "$python" -m venv "$venv"
quietly "$venv/bin/python" -m pip install -q "$uv"
# The lock is complete, so nothing is resolved. Bytecode now makes every later start four times as fast.
VIRTUAL_ENV=$venv quietly "$venv/bin/uv" pip install --no-deps --compile-bytecode -r "$lock"
VIRTUAL_ENV=$venv quietly "$venv/bin/uv" pip install --no-deps --no-build-isolation -e .
quietly "$venv/bin/python" -m pip check
echo "Set-up done."
