#!/usr/bin/env bash
# Makes .venv from pinned, hashed files: requirements/setup.sh cpu|dev|gpu
#
# Needs Python 3.11 or 3.12 with venv or pip, and nothing else: uv is installed into .uv first, from its own pinned
# file. Does nothing when .venv is already what it should be, and never shrinks a development environment.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted="${1:?which set: cpu, dev or gpu}"
stamp=.venv/.faceflow-installed

# Another environment that happens to be active must not leak into this one.
unset VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV __PYVENV_LAUNCHER__
for name in "${!PYTHON@}"; do
    [[ $name == PYTHON ]] || unset "$name" # PYTHON is ours: which interpreter
done
unset UV_PYTHON UV_SYSTEM_PYTHON UV_PROJECT_ENVIRONMENT UV_TARGET UV_PREFIX UV_PROJECT UV_WORKING_DIRECTORY
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PYTHONNOUSERSITE=1 UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '==> %s\n' "$*"; }

stop() {
    printf 'faceflow setup: %s\n' "$@" >&2
    exit 1
}

# fingerprint SET: what an environment of this set was made from.
fingerprint() {
    printf '%s ' "$1"
    cat "requirements/$1.txt" requirements/uv.txt pyproject.toml | cksum | tr ' ' '-'
    pwd
}

# installed SET: whether .venv is that set, complete and for this very folder.
installed() {
    [[ -x .venv/bin/python && -f $stamp && "$(cat "$stamp")" == "$(fingerprint "$1")" ]]
}

# quietly STEP COMMAND...: one line a step, a sign of life every ten seconds, the whole output only on failure.
quietly() {
    local step="$1" log started=$SECONDS
    shift
    say "$step"
    log="$(mktemp)"
    "$@" >"$log" 2>&1 &
    local running=$! shown=$SECONDS
    while kill -0 "$running" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - shown >= 10)); then
            shown=$SECONDS
            printf '    still at it: %d s\n' "$((SECONDS - started))"
        fi
    done
    if ! wait "$running"; then
        cat "$log" >&2
        rm -f "$log"
        stop "$step failed; the reason is above."
    fi
    rm -f "$log"
}

# suits PYTHON: a version that the pinned files are made for.
suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

has_pip() { "$1" -m pip --version >/dev/null 2>&1; }

# The Python to build on: $PYTHON, or the first one that suits and can install something.
find_python() {
    local name seen=""
    for name in ${PYTHON:-python3.11 python3.12 python3 python3.13 python /usr/bin/python3}; do
        command -v "$name" >/dev/null && suits "$name" || continue
        seen="$name"
        if has_venv "$name" || has_pip "$name"; then
            echo "$name"
            return
        fi
    done
    if [[ -n $seen ]]; then
        stop "$seen has neither venv nor pip." \
            "On Debian and Ubuntu: apt-get install python3-venv; or name another one: make setup PYTHON=/path/to/python3.11"
    fi
    stop "Python 3.11, 3.12 or 3.13 was not found." \
        "Install one, or name it: make setup PYTHON=/path/to/python3.11"
}

install_uv() {
    local python="$1"
    rm -rf .uv
    if has_venv "$python"; then
        "$python" -m venv .uv
        .uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
    else
        "$python" -m pip install --quiet --require-hashes --target .uv -r requirements/uv.txt
    fi
    [[ -x .uv/bin/uv ]]
}

make_environment() {
    # A virtual environment remembers its folder: one that was moved here is created again.
    if ! .venv/bin/python -c "import sys; sys.exit(sys.prefix != '$PWD/.venv')" 2>/dev/null; then
        rm -rf .venv
        .uv/bin/uv venv --quiet --no-project --no-config --python "$(command -v "$1")" .venv
    fi
}

install_packages() {
    .uv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes "requirements/$1.txt"
}

install_project() {
    .uv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
}

if [[ $wanted == cpu ]]; then
    installed cpu || ! installed dev || exit 0
    [[ ! -f $stamp || "$(cut -d' ' -f1 "$stamp" | head -1)" != dev ]] || wanted=dev
fi
! installed "$wanted" || exit 0

rm -f "$stamp"
python="$(find_python)"
.uv/bin/uv --version >/dev/null 2>&1 || quietly "Installing uv with $("$python" --version 2>&1)" install_uv "$python"
make_environment "$python"
quietly "Installing the pinned packages of requirements/$wanted.txt (a few minutes the first time)" \
    install_packages "$wanted"
quietly "Installing faceflow itself" install_project
fingerprint "$wanted" >"$stamp"
say "The environment is ready in .venv"
