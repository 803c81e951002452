#!/usr/bin/env bash
# Regenerates the pinned, hashed requirement files from pyproject.toml. They name no index.
# Versions stay as they are where they still fit; `requirements/compile.sh --upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-.uv/bin/uv}"
options=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header "$@")
echo "uv>=0.8" | "$uv" pip compile - "${options[@]}" -o requirements/uv.txt
stores=(--extra s3 --extra azure)
"$uv" pip compile pyproject.toml --extra cpu --extra demo "${stores[@]}" --group build "${options[@]}" \
    -o requirements/cpu.txt
"$uv" pip compile pyproject.toml --extra gpu "${stores[@]}" --group build -c requirements/cpu.txt "${options[@]}" \
    -o requirements/gpu.txt
"$uv" pip compile pyproject.toml --extra cpu --extra demo "${stores[@]}" --group build --group test --group quality \
    -c requirements/cpu.txt "${options[@]}" -o requirements/dev.txt
# The images (Dockerfile). The base of the GPU image brings CUDA 12 and cuDNN, so their wheels stay out, and
# ONNX Runtime 1.26 is the last one that is built for CUDA 12.
image=(pyproject.toml - --extra postgres --extra people --extra kubernetes --extra redis --extra aws "${stores[@]}")
echo 'boto3>=1.35' | "$uv" pip compile "${image[@]}" --extra cpu -c requirements/dev.txt "${options[@]}" \
    -o requirements/image-cpu.txt
printf 'boto3>=1.35\nonnxruntime-gpu>=1.22,<1.27\n' | "$uv" pip compile "${image[@]}" -c requirements/image-cpu.txt \
    "${options[@]}" -o requirements/image-gpu.txt
# What is needed while an image is built, and is not in it: the wheel and the list of parts.
printf 'hatchling>=1.27\nface-detection-tflite==0.6.0\ncyclonedx-bom>=7\n' | "$uv" pip compile - -c requirements/cpu.txt "${options[@]}" \
    -o requirements/image-build.txt
