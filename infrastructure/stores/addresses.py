"""What the address of an object means: which configured store, which service, bucket and key.

    store://results/a/b.mp4     `a/b.mp4` in the store that is configured as `results`
    s3://bucket/a/b.mp4         the configured store that holds this prefix, or else the bucket with the machine's own
                                credentials, in the zone `public`
    az://container/a/b.mp4, gs://bucket/a/b.mp4      likewise

Keys are taken literally: nothing is decoded, so `100%.mp4` and `a b.mp4` mean what they say.
"""

from __future__ import annotations

from dataclasses import dataclass

from faceflow.errors import JobError
from faceflow.infrastructure.stores.store_settings import StoreConnection, StoreSettings

SERVICES = ("s3", "az", "gs")
NAMED = "store"


@dataclass(frozen=True, slots=True)
class Place:
    """A store as it is configured.

    Attributes:
        name: of the configured store; empty for a bucket that no configuration names.
        connection: how it is reached.
    """

    name: str
    connection: StoreConnection

    @property
    def kind(self) -> str:
        """`s3`, `az`, `gs` or `file`."""
        return self.connection.address.partition("://")[0]

    @property
    def bucket(self) -> str:
        """Bucket or container; of a folder, empty."""
        return _split(self.connection.address)[1]

    @property
    def prefix(self) -> str:
        """What all keys begin with, without slashes at its ends."""
        return _split(self.connection.address)[2].strip("/")

    @property
    def shown(self) -> str:
        """How messages call this store."""
        return f"store {self.name!r}" if self.name else self.connection.address


def scheme_of(address: str) -> str:
    """The part before `://`, in lower case."""
    return address.partition("://")[0].lower()


def split_named(address: str) -> tuple[str, str]:
    """Name and key of a `store://NAME/KEY` address."""
    _, name, key = _split(address)
    return name, key


def find_place(address: str, settings: StoreSettings) -> tuple[Place, str]:
    """The place that holds the object at an `s3://`, `az://` or `gs://` address, and its key there.

    Raises:
        JobError: `job.location_unsupported`, `job.store_ambiguous`, `job.store_unknown`.
    """
    scheme, bucket, key = _split(address)
    if scheme not in SERVICES or not bucket:
        raise JobError(
            "job.location_unsupported",
            f"{address!r} is not an object in a store that faceflow supports.",
            "Use a path, or store://NAME/KEY, s3://BUCKET/KEY, az://CONTAINER/KEY or gs://BUCKET/KEY.",
            scheme=scheme,
        )
    places = [Place(name, connection) for name, connection in settings.named.items()]
    holding = [place for place in places if _holds(place, scheme, bucket, key)]
    if not holding:
        if not settings.allow_unnamed:
            raise unknown_store(f"{scheme}://{bucket}", settings)
        return Place("", StoreConnection(address=f"{scheme}://{bucket}")), key
    nearest = max(len(place.prefix) for place in holding)
    found = [place for place in holding if len(place.prefix) == nearest]
    if len(found) > 1:
        raise JobError(
            "job.store_ambiguous",
            f"{address!r} is in several configured stores: {', '.join(sorted(place.name for place in found))}.",
            "Name the store: store://NAME/KEY.",
        )
    return found[0], key[len(found[0].prefix) :].lstrip("/") if found[0].prefix else key


def unknown_store(shown: str, settings: StoreSettings) -> JobError:
    """`job.store_unknown`, with the names that there are."""
    names = ", ".join(sorted(settings.named)) or "none"
    return JobError(
        "job.store_unknown",
        f"No store is configured for {shown!r}; configured: {names}.",
        "Use one of these (store://NAME/KEY), or add the store: FACEFLOW_STORES__NAMED__<NAME>__ADDRESS, or a Prefect "
        "block of the type FaceflowStore.",
    )


def _holds(place: Place, scheme: str, bucket: str, key: str) -> bool:
    inside = not place.prefix or key.startswith(f"{place.prefix}/")
    return (place.kind, place.bucket) == (scheme, bucket) and inside


def _split(address: str) -> tuple[str, str, str]:
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    return scheme.lower(), bucket, key
