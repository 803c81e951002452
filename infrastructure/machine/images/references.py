"""What an image is called: `HOST/REPOSITORY:TAG` for people, `HOST/REPOSITORY@sha256:...` for what is really meant."""

from __future__ import annotations

import re
from dataclasses import dataclass

from faceflow.errors import JobError

_HOST = (
    r"(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?::[0-9]{1,5})?)"
)
_REPOSITORY = r"(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_TAG = r"(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})"
_DIGEST = r"(?P<digest>sha256:[0-9a-f]{64})"
_REFERENCE = re.compile(rf"{_HOST}/{_REPOSITORY}(?::{_TAG})?(?:@{_DIGEST})?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A place for versions of one image in one registry."""

    host: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"

    def tagged(self, tag: str) -> str:
        """The address of the version that is called `tag` at the moment."""
        return f"docker://{self}:{tag}"

    def exactly(self, digest: str) -> str:
        """The address of one version, forever."""
        return f"docker://{self}@{digest}"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A version of an image: by a tag, which may move, or by a digest, which cannot."""

    repository: Repository
    tag: str
    digest: str | None

    @property
    def address(self) -> str:
        """What skopeo is to read."""
        return self.repository.exactly(self.digest) if self.digest else self.repository.tagged(self.tag)

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


def image_reference(text: str) -> ImageReference:
    """Reads `HOST/REPOSITORY:TAG`, with `@sha256:...` where exactly one version is meant.

    Raises:
        JobError: `job.image_invalid`.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None or found["tag"] is None:
        raise JobError(
            "job.image_invalid",
            f"{text!r} is not an image with a tag.",
            "Write HOST/REPOSITORY:TAG; append @sha256:... to pin one exact version.",
        )
    return ImageReference(Repository(found["host"], found["repository"]), found["tag"], found["digest"])


def repository(text: str) -> Repository:
    """Reads `HOST/REPOSITORY`.

    Raises:
        JobError: `job.image_invalid`.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None or found["tag"] is not None or found["digest"] is not None:
        raise JobError(
            "job.image_invalid",
            f"{text!r} is not a repository.",
            "Write registries as HOST/REPOSITORY, without a tag: copies get the tag of the source.",
        )
    return Repository(found["host"], found["repository"])
