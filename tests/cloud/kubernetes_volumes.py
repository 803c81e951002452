"""The volumes of pods, as folders of this machine: claims, ConfigMaps, and empty ones that go with their pod's name."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cloud.kubernetes_objects import Objects, Thing

SMALL_DISK_BYTES = 4_000_000
"""The inputs fit, the work does not."""


class Volumes:
    """Where what is mounted lies.

    Attributes:
        next_disk_is_small: the next pod lands on a machine with a disk that is too small for it.
    """

    def __init__(self, objects: Objects, folder: Path, claims: Callable[[str, str], Path]) -> None:
        """`claims`: folder of a volume claim, by namespace and name."""
        self.next_disk_is_small = False
        self._objects = objects
        self._folder = folder
        self._claims = claims
        self._small_disks: list[Path] = []

    def clear(self, pod: Thing) -> None:
        """For a new pod, whose name another may have had before."""
        shutil.rmtree(self._folder / "volumes" / pod["metadata"]["name"], ignore_errors=True)

    def mounts(self, pod: Thing, spec: Thing) -> dict[str, Path]:
        """Folders by mount point for one container of a pod.

        Raises:
            RefusedError: a ConfigMap is missing.
        """
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        disk = self._folder / "disks" / name
        if self.next_disk_is_small:
            self.next_disk_is_small = False
            self._small_disk(disk)
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        mounts = {}
        # The longest first: `/models/.compiled` lies inside of `/models`.
        for mount in sorted(spec.get("volumeMounts", ()), key=lambda one: -len(one["mountPath"])):
            volume = volumes[mount["name"]]
            place = self._folder / "volumes" / name / mount["name"]
            if "persistentVolumeClaim" in volume:
                place = self._claims(namespace, volume["persistentVolumeClaim"]["claimName"])
            elif "configMap" in volume:
                self._write_config_map(namespace, volume["configMap"]["name"], place)
            elif mount["name"] == "scratch" and disk.is_dir():
                place = disk
            mounts[mount["mountPath"]] = place / mount.get("subPath", "")
        return mounts

    def end(self) -> None:
        for folder in self._small_disks:
            subprocess.run(["umount", str(folder)], check=True)

    def _write_config_map(self, namespace: str, name: str, folder: Path) -> None:
        content = self._objects.get("configmaps", namespace, name).get("data", {})
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in content.items():
            (folder / file).write_text(text)

    def _small_disk(self, folder: Path) -> None:
        """A file system of its own; needs the rights of root."""
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)], check=True)
        self._small_disks.append(folder)
