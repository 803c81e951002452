"""The program that speaks to registries. It copies whole images by digest and knows every registry's way of logging in.

A copy sends the layers first and the manifest last, so a registry never shows half an image; a layer that is there
already is not sent again, which is what makes an interrupted copy go on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faceflow.errors import stopped
from faceflow.infrastructure.machine.images.references import Repository
from faceflow.infrastructure.machine.images.registry_errors import RegistryError, RegistrySetupError, failure
from faceflow.infrastructure.machine.server.server_keeper import die_with_parent

INSPECT_TIMEOUT_S = 60.0
_POLL_S = 0.1
_END_S = 5.0


@dataclass(frozen=True, slots=True)
class Skopeo:
    """How it is called.

    Attributes:
        credentials: file with logins; None leaves it to skopeo where it looks.
        without_tls: registries, `host:port`, that are spoken to without TLS.
        stop: set from another thread, it ends what is running.
        on_wait: called about ten times a second with the seconds that a call has taken so far.
    """

    credentials: Path | None
    without_tls: Collection[str]
    stop: threading.Event
    on_wait: Callable[[float], None] = lambda _waited_s: None

    def manifest(self, repository: Repository, address: str) -> bytes:
        """The manifest as the registry keeps it, byte for byte; its SHA-256 is the image's digest.

        Raises:
            FaceflowError: `registry.*`, see `faceflow.infrastructure.machine.images.registry_errors`.
        """
        return self._read(["inspect", "--raw"], repository, address)

    def created(self, repository: Repository, digest: str) -> datetime | None:
        """When the image was made, as it says itself; None where it does not."""
        content = self._read(["inspect", "--config", "--raw"], repository, repository.exactly(digest))
        try:
            made = datetime.fromisoformat(json.loads(content)["created"])
        except (ValueError, TypeError, KeyError):
            return None
        return made if made.tzinfo else made.replace(tzinfo=UTC)

    def copy(self, source: Repository, digest: str, target: Repository, tag: str, timeout_s: float) -> None:
        """Copies one version with all its architectures, unchanged, and calls it `tag` there.

        Raises:
            FaceflowError: `registry.*`; `fault.cancelled` after a request to stop.
        """
        options = ["--all", "--preserve-digests", f"--src-tls-verify={self._verify(source)}"]
        options += [f"--dest-tls-verify={self._verify(target)}", *self._login()]
        self._run(
            ["copy", *options, source.exactly(digest), target.tagged(tag)], target.host, f"{target}:{tag}", timeout_s
        )

    def _read(self, command: list[str], repository: Repository, address: str) -> bytes:
        options = [f"--tls-verify={self._verify(repository)}", *self._login()]
        what = address.removeprefix("docker://")
        return self._run([*command, *options, address], repository.host, what, INSPECT_TIMEOUT_S)

    def _verify(self, repository: Repository) -> str:
        return "false" if repository.host in self.without_tls else "true"

    def _login(self) -> list[str]:
        return [] if self.credentials is None else ["--authfile", str(self.credentials)]

    def _run(self, arguments: list[str], host: str, what: str, timeout_s: float) -> bytes:
        process = subprocess.Popen(
            [skopeo_program(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent(),
        )
        begun = time.monotonic()
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    if self.stop.is_set():
                        raise stopped() from None
                    waited_s = time.monotonic() - begun
                    self.on_wait(waited_s)
                    if waited_s > timeout_s:
                        raise RegistryError(
                            "registry.timeout",
                            f"{host} did not finish with {what} within {timeout_s:.0f} s.",
                            "Try again: layers that have arrived are not sent again. Raise "
                            "FACEFLOW_IMAGES__TIMEOUT_S to allow more time.",
                        ) from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise failure(errors.decode(errors="replace"), host, what)
        return output


def digest_of(manifest: bytes) -> str:
    """The name that a registry knows these bytes by."""
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


def skopeo_program() -> str:
    """Where skopeo is.

    Raises:
        RegistrySetupError: `registry.skopeo_missing`.
    """
    found = shutil.which("skopeo")
    if found is None:
        raise RegistrySetupError(
            "registry.skopeo_missing",
            "skopeo, which copies images between registries, is not installed.",
            "Install it with `apt-get install skopeo`; in faceflow's container image, build with "
            "EXTRA_PACKAGES=skopeo.",
        )
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
