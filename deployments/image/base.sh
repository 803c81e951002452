#!/usr/bin/env bash
# Makes a base image from Debian packages alone, for machines that reach no registry: base.sh [NAME]
#
# Needs root, debootstrap and podman. The CPU image is built on it: make image BASE_IMAGE=localhost/faceflow-base:debian12
set -euo pipefail

name="${1:-localhost/faceflow-base:debian12}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

debootstrap --variant=minbase --include=ca-certificates bookworm "$folder/base"
rm -rf "$folder"/base/var/cache/apt/archives/*.deb "$folder"/base/var/lib/apt/lists/*
tar --directory "$folder/base" --numeric-owner --create . | podman import - "$name"
