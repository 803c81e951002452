#!/usr/bin/env bash
# Builds an image: build.sh [cpu|gpu]. With buildah where it is installed, or podman, or docker.
#
# From the environment, each as docs/image.md says:
#   IMAGE                                           its name; default faceflow:VERSION-TARGET
#   BASE_IMAGE, EXTRA_PACKAGES, TENSORRT_VERSION    build arguments; empty ones are left to the Dockerfile
#   MODELS, MODELS_ENV                              networks to put in, and a file of FACEFLOW_MODELS__ settings for that
#   PIP_CONF, UV_TOML, CA_BUNDLE                    files that say where packages come from
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${1:-cpu}"
[[ $target == cpu || $target == gpu ]] || { echo "build.sh: the target is cpu or gpu, not $target" >&2; exit 2; }
version="$(sed -nE 's/^version = "(.+)"/\1/p' pyproject.toml)"
revision="$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)"
image="${IMAGE:-faceflow:$version-$target}"
[[ $target == gpu || -n ${BASE_IMAGE:-} ]] || BASE_IMAGE=debian:bookworm-slim

arguments=(--target "$target" --tag "$image" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
for name in BASE_IMAGE EXTRA_PACKAGES TENSORRT_VERSION MODELS; do
    [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name=${!name}")
done
for secret in pip_conf:PIP_CONF uv_toml:UV_TOML ca_bundle:CA_BUNDLE models_env:MODELS_ENV; do
    file="${secret#*:}"
    [[ -z ${!file:-} ]] || arguments+=(--secret "id=${secret%:*},src=${!file}")
done

# The OCI format has no place for a health check; Docker's has, and every registry takes it.
if command -v buildah >/dev/null; then
    builder=(buildah build --layers --format docker)
    [[ -z ${BUILDAH_ISOLATION:-} ]] || builder+=(--isolation "$BUILDAH_ISOLATION")
elif command -v podman >/dev/null; then
    builder=(podman build --layers --format docker)
elif command -v docker >/dev/null; then
    builder=(env DOCKER_BUILDKIT=1 docker build)
else
    echo "build.sh: neither buildah nor podman nor docker is installed" >&2
    exit 1
fi
# shellcheck disable=SC2206
options=(${BUILD_OPTIONS:-})
started=$SECONDS
"${builder[@]}" "${arguments[@]}" "${options[@]}" .
echo "==> $image in $((SECONDS - started)) s"
