#!/usr/bin/env bash
# Makes the pinned, hashed requirement files anew from pyproject.toml. They name no index.
# Versions stay as they are where they still fit; `requirements/compile.sh --upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-.uv/bin/uv}"
options=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header "$@")
echo "uv>=0.8" | "$uv" pip compile - "${options[@]}" -o requirements/uv.txt
"$uv" pip compile pyproject.toml --extra cpu --extra demo --group build "${options[@]}" -o requirements/cpu.txt
"$uv" pip compile pyproject.toml --extra gpu --group build -c requirements/cpu.txt "${options[@]}" \
    -o requirements/gpu.txt
"$uv" pip compile pyproject.toml --extra cpu --extra demo --group build --group test --group quality \
    -c requirements/cpu.txt "${options[@]}" -o requirements/dev.txt
