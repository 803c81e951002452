"""Who has the image, who is behind and for how long, and bringing it there.

A tag is asked for once: from then on everything is done with its digest, so that a tag which moves in the middle cannot
give two pools two versions. A copy counts when the registry gives back, by that digest and under the tag, the very
bytes of the source's manifest.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum

from faceflow.errors import FaceflowError, JobError
from faceflow.infrastructure.machine.images.image_settings import SettingsWithImages
from faceflow.infrastructure.machine.images.references import ImageReference, Repository, image_reference, repository
from faceflow.infrastructure.machine.images.registry_errors import RegistryError, is_missing
from faceflow.infrastructure.machine.images.skopeo import Skopeo, digest_of
from faceflow.job import FrozenModel
from faceflow.log import events


class ReplicaState(StrEnum):
    """How a registry stands to the source."""

    CURRENT = "current"
    BEHIND = "behind"
    MISSING = "missing"


class SourceImage(FrozenModel):
    """The version that every registry is to have.

    Attributes:
        image: `HOST/REPOSITORY:TAG`.
        digest: of its manifest, or of its list of architectures.
        created: when it was made, ISO 8601; empty where the image does not say.
    """

    image: str
    digest: str
    created: str

    @property
    def reference(self) -> ImageReference:
        """Its parts."""
        return image_reference(self.image)

    def age_s(self, now: datetime) -> float | None:
        """Seconds since it was made; None where it does not say."""
        return max(0.0, (now - datetime.fromisoformat(self.created)).total_seconds()) if self.created else None


class Replica(FrozenModel):
    """A registry near one or several pools, and what it has.

    Attributes:
        pools: work pools that pull from it.
        repository: `HOST/REPOSITORY`.
        state: whether it has the source's version under the source's tag.
        digest: what it has under that tag; empty where nothing is.
        lag_s: seconds since the source's version was made, for as long as it is not here; 0 where it is, None where the
            image does not say when it was made.
        copied: whether this run brought it.
        seconds: what the copy took, verification included; 0 without one.
        arrived_after_s: seconds from the making of the image until it was verified here; None where this run did not
            bring it or the image does not say when it was made.
    """

    pools: tuple[str, ...]
    repository: str
    state: ReplicaState
    digest: str
    lag_s: float | None
    copied: bool = False
    seconds: float = 0.0
    arrived_after_s: float | None = None


def find_source(image: str, settings: SettingsWithImages, skopeo: Skopeo) -> SourceImage:
    """Turns a tag into the version that it means now.

    Args:
        image: `HOST/REPOSITORY:TAG`; empty takes `FACEFLOW_IMAGES__SOURCE`.
        settings: of this machine.
        skopeo: how registries are spoken to.

    Raises:
        FaceflowError: `job.image_missing`, `job.image_invalid`, `registry.*`.
    """
    named = image or settings.images.source
    if not named:
        raise JobError("job.image_missing", "No image was given.", "Pass one, or set FACEFLOW_IMAGES__SOURCE.")
    reference = image_reference(named)
    digest = digest_of(skopeo.manifest(reference.repository, reference.address))
    if reference.digest not in (None, digest):
        raise _differs(str(reference.repository), reference.digest or "", digest)
    made = skopeo.created(reference.repository, digest)
    return SourceImage(
        image=f"{reference.repository}:{reference.tag}", digest=digest, created=made.isoformat() if made else ""
    )


def look(source: SourceImage, place: str, pools: tuple[str, ...], skopeo: Skopeo) -> Replica:
    """What a registry has now. Changes nothing.

    Raises:
        FaceflowError: `registry.*`, where it does not say.
    """
    digest = _digest_under(source.reference.tag, repository(place), skopeo)
    current = digest == source.digest
    return Replica(
        pools=pools,
        repository=place,
        state=ReplicaState.CURRENT if current else ReplicaState.BEHIND if digest else ReplicaState.MISSING,
        digest=digest,
        lag_s=0.0 if current else source.age_s(datetime.now(UTC)),
    )


def bring(source: SourceImage, place: str, pools: tuple[str, ...], skopeo: Skopeo, timeout_s: float) -> Replica:
    """Sees to it that a registry has the source's version under the source's tag, and verifies it at both ends.

    Raises:
        FaceflowError: `registry.*`; what has arrived until then is not sent again next time.
    """
    before = look(source, place, pools, skopeo)
    if before.state is ReplicaState.CURRENT:
        return before
    begun = time.monotonic()
    here, there, tag = source.reference.repository, repository(place), source.reference.tag
    events().info("image.copy", image=source.image, digest=source.digest, repository=place, had=before.digest)
    skopeo.copy(here, source.digest, there, tag, timeout_s)
    for end, address in (
        (here, here.exactly(source.digest)),
        (there, there.exactly(source.digest)),
        (there, there.tagged(tag)),
    ):
        found = digest_of(skopeo.manifest(end, address))
        if found != source.digest:
            raise _differs(address.removeprefix("docker://"), source.digest, found)
    seconds = time.monotonic() - begun
    age = source.age_s(datetime.now(UTC))
    events().info(
        "image.replicated", image=source.image, digest=source.digest, repository=place, seconds=round(seconds, 3)
    )
    return before.model_copy(
        update={
            "state": ReplicaState.CURRENT,
            "digest": source.digest,
            "lag_s": 0.0,
            "copied": True,
            "seconds": round(seconds, 3),
            "arrived_after_s": age,
        }
    )


def _digest_under(tag: str, place: Repository, skopeo: Skopeo) -> str:
    try:
        return digest_of(skopeo.manifest(place, place.tagged(tag)))
    except FaceflowError as error:
        if is_missing(error):
            return ""
        raise


def _differs(where: str, wanted: str, found: str) -> RegistryError:
    return RegistryError(
        "registry.digest_differs",
        f"{where} returns {found} instead of {wanted}.",
        "Someone has pushed to that tag in the meantime, or the registry is damaged. Check the registry, then "
        "try again.",
        wanted=wanted,
        found=found,
    )
