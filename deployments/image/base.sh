#!/usr/bin/env bash
# Makes a base image from Debian packages alone, for machines that reach no registry: base.sh [NAME]
#
# Needs root, debootstrap and podman. The CPU image is built on it: make image BASE_IMAGE=localhost/faceflow-base:debian12
set -euo pipefail

name="${1:-localhost/faceflow-base:debian12}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

debootstrap --variant=minbase --include=ca-certificates bookworm "$folder/root"
rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/*
tar --directory "$folder/root" --numeric-owner --create . | podman import - "$name"
