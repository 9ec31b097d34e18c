#!/bin/sh
# setup.sh VENV       chooses Python and the lock for this machine, makes VENV with them
# setup.sh --choose   says what it would choose, and installs nothing
#
# TFX has wheels for some machines and Pythons only, so the machine decides between two locks:
#   tfx121.txt  Python 3.11 to 3.13: Linux x86_64 with glibc 2.39 or later, macOS on Apple chips
#   py310.txt   Python 3.10: Linux x86_64 with an older glibc, macOS on Intel chips
# $PYTHON names an interpreter to use. Otherwise the newest fitting one is used, and one is fetched if there is none.
set -eu
here=$(dirname "$0")
uv="uv==0.13.9"
# Trust what the machine trusts (company proxies).
export UV_SYSTEM_CERTS=1 UV_NO_PROGRESS=1

stop() {
    echo "Set-up stops: $*" >&2
    exit 1
}

# Sets machine (in words) and fitting (Python versions, the preferred one first).
read_machine() {
    system=$(uname -s)
    processor=$(uname -m)
    machine="$system $processor"
    fitting=""
    case $system-$processor in
    Linux-x86_64 | Linux-amd64)
        # musl has no such variable, or no getconf.
        libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc=""
        case $libc in
        "glibc "*) ;;
        *) stop "TFX has no wheels for $machine without glibc (musl, as in Alpine); use Debian 13 or Ubuntu 24.04," \
            "e.g. in a container of python:3.13-trixie" ;;
        esac
        machine="$machine with $libc"
        minor=${libc#glibc 2.}
        if [ "${minor%%.*}" -ge 39 ]; then fitting="3.13 3.12 3.11 3.10"; else fitting="3.10"; fi
        ;;
    Darwin-arm64) fitting="3.13 3.12 3.11" ;;
    Darwin-x86_64) fitting="3.10" ;;
    Linux-*) stop "TFX has no wheels for $machine; use a container of linux/amd64, e.g." \
        "docker run --platform linux/amd64 -it python:3.13-trixie" ;;
    MINGW* | MSYS* | CYGWIN* | Windows*) stop "TFX has no wheels for Windows; use Ubuntu 24.04 in WSL 2" ;;
    *) stop "TFX has no wheels for $machine; use Linux x86_64, e.g. in a container of python:3.13-trixie" ;;
    esac
}

# Of a Python that fits TFX's wheels: version, whole version, and what it lacks to make and fill an environment.
probe='
import importlib.util, os, platform, sys, sysconfig
if sys.implementation.name != "cpython" or sys.maxsize < 2**32 or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit("not a 64-bit CPython with a GIL")
lacks = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None][:1]
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    lacks.append("headers")
print("%d.%d" % sys.version_info[:2], platform.python_version(), *lacks)
'

# What may be the Python of a version; an entry need not exist, and a pyenv shim may exist and fail.
candidates() {
    echo "python$1"
    ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python 2>/dev/null | sort -rV
    ls -d "$HOME"/.local/share/uv/python/cpython-"$1".*/bin/python"$1" 2>/dev/null | sort -rV
    echo "/opt/homebrew/bin/python$1"
    echo python3
    echo python
}

# Sets python (empty if there is none), version, whole and lacks (empty if nothing is missing).
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        advice="name an interpreter of Python $(echo "$fitting" | sed 's/ / or /g'), or unset PYTHON"
        found=$("$PYTHON" -c "$probe" 2>/dev/null) || stop "PYTHON=$PYTHON does not run as Python 3 (a 64-bit CPython" \
            "with a GIL); $advice"
        take "$PYTHON" "$found"
        case " $fitting " in
        *" $version "*) ;;
        *) stop "PYTHON=$PYTHON is Python $whole, which TFX has no wheels for on $machine;" \
            "$advice" ;;
        esac
        return
    fi
    python=""
    incomplete=""
    for wanted in $fitting; do
        for candidate in $(candidates "$wanted"); do
            found=$("$candidate" -c "$probe" 2>/dev/null) || continue
            [ "${found%% *}" = "$wanted" ] || continue
            take "$candidate" "$found"
            [ -z "$lacks" ] && return
            [ -n "$incomplete" ] || incomplete="$candidate $found"
        done
    done
    python=""
    if [ -n "$incomplete" ]; then take "${incomplete%% *}" "${incomplete#* }"; fi
}

# take CANDIDATE "VERSION WHOLE [LACKS…]"
take() {
    python=$(command -v "$1")
    # shellcheck disable=SC2086 (words)
    set -- $2
    version=$1
    whole=$2
    shift 2
    lacks=$*
}

# pyfarmhash, which TFX needs, comes as source.
has_compiler() {
    for compiler in "${CXX:-}" c++ g++ clang++; do
        # On a Mac without the command line tools, c++ exists and fails.
        [ -n "$compiler" ] && $compiler --version >/dev/null 2>&1 && return
    done
    return 1
}

# Stops where something is missing that a package manager brings, and names the packages.
check_tools() {
    missing=""
    packages=""
    if ! has_compiler; then
        missing="a C++ compiler"
        packages="g++"
    fi
    case " $lacks " in *" headers "*)
        missing="${missing:+$missing, }the headers of Python $version"
        packages="$packages python$version-dev" ;;
    esac
    case " $lacks " in *" venv "* | *" ensurepip "*)
        missing="${missing:+$missing, }Python's module venv with pip"
        packages="$packages python$version-venv" ;;
    esac
    [ -n "$missing" ] || return 0
    packages=${packages# }
    if [ "$system" = Darwin ]; then
        how="run xcode-select --install, and take Python from python.org or Homebrew"
    elif command -v apt-get >/dev/null; then
        how="apt-get install $packages"
    elif command -v dnf >/dev/null; then
        how="dnf install $(echo "$packages" | sed "s/g++/gcc-c++/; s/-dev/-devel/; s/python$version-venv/python$version/")"
    else
        how="install what Debian calls $packages"
    fi
    stop "$missing not found; $how"
}

choose() {
    read_machine
    choose_python
    if [ -z "$python" ]; then
        # The fetched Pythons have all but the compiler.
        version=${fitting%% *}
        whole=$version
        lacks=""
    fi
    check_tools
    if [ "$version" = 3.10 ]; then lock=py310.txt tfx=1.16; else lock=tfx121.txt tfx=1.21; fi
    if [ -n "$python" ]; then from="$python"; else from="fetched with uv from beyond the package registries"; fi
    echo "Python $whole ($from) with TFX $tfx ($lock), as this is $machine"
}

quietly() {
    "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
}

fetch_python() {
    for any in python3 python; do command -v "$any" >/dev/null && break; done
    "$any" -c "import venv, ensurepip" 2>/dev/null || stop "no Python is here; install Python $version with its venv and headers"
    quietly "$any" -m venv "$venv.bootstrap"
    quietly "$venv.bootstrap/bin/python" -m pip install -q "$uv"
    quietly "$venv.bootstrap/bin/uv" python install "$version"
    python=$("$venv.bootstrap/bin/uv" python find "$version")
    rm -rf "$venv.bootstrap"
}

case ${1:-} in
"") stop "wanted the folder of the environment to make, or --choose" ;;
--choose) choose; exit ;;
esac
venv=$1
choose
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -n "$python" ] || fetch_python
echo "Setting up $venv (two to five minutes, once) …"
# What an environment of another Python or lock has left must not stay.
quietly "$python" -m venv --clear "$venv"
quietly "$venv/bin/python" -m pip install -q "$uv"
# The lock is complete, so nothing is resolved. Bytecode now makes every later start four times as fast.
VIRTUAL_ENV=$venv quietly "$venv/bin/uv" pip install --no-deps --compile-bytecode -r "$here/$lock"
VIRTUAL_ENV=$venv quietly "$venv/bin/uv" pip install --no-deps --no-build-isolation -e .
quietly "$venv/bin/python" -m pip check
echo "Set-up done."
