#!/usr/bin/env bash
# Make or refresh a virtual environment: requirements/install.sh VENV PINS [PYTHON]
set -euo pipefail

venv=$1 pins=$2 python=${3:-}

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

case $pins in # what that Airflow runs on, https://github.com/apache/airflow#requirements
*airflow-3.1*) newest=13 ;;
*) newest=14 ;;
esac
will_do() { "$1" -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $newest))" >/dev/null 2>&1; }

if [[ -n $python ]]; then
    will_do "$python" || fail "PYTHON=$python is not a Python from 3.10 to 3.$newest, which Airflow needs"
else
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if will_do "$candidate"; then
            python=$candidate
            break
        fi
    done
    [[ -n $python ]] || fail "no Python from 3.10 to 3.$newest found, which Airflow needs;" \
        "install one, or name it: make setup PYTHON=/path/to/python3.12"
fi

version=$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")')
if ! "$venv/bin/python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
    printf 'setup: Python %s in %s\n' "$version" "$venv"
    "$python" -m venv --clear "$venv" ||
        fail "$python can't make virtual environments (on Debian and Ubuntu: apt-get install python3-venv)"
fi

# uv takes a minute less than pip. It doesn't read pip's settings, so it is told where pip would go; where it can't, pip can.
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
setting() { pip config get "global.$1" 2>/dev/null || true; }
index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(setting index-url)}}
certificates=${SSL_CERT_FILE:-${PIP_CERT:-$(setting cert)}}
if [[ -n $index ]]; then export UV_DEFAULT_INDEX=$index; fi
if [[ -n $certificates ]]; then export SSL_CERT_FILE=$certificates; fi

printf 'setup: installing %s\n' "$pins"
"$venv/bin/uv" --version >/dev/null 2>&1 || pip install --quiet uv ||
    printf 'setup: no uv for this machine; going on with pip\n' >&2
uv() { "$venv/bin/uv" --quiet pip install --python "$venv/bin/python" "$@"; }
uv -r "$pins" || pip install --quiet -r "$pins" ||
    fail "the packages of $pins can't be installed; see above, and check the package index (pip config list)"
uv --no-deps --no-build-isolation -e . || pip install --quiet --no-deps --no-build-isolation -e .
