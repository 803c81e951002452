"""Which addresses are asked for a file, in order: the mirror, then the public sources; offline, only folders."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import httpx

from faceflow.errors import ModelError
from faceflow.infrastructure.models.bucket_source import BucketSource
from faceflow.infrastructure.models.folder_source import FolderSource
from faceflow.infrastructure.models.http_source import HttpSource
from faceflow.infrastructure.models.sources import Source, shown
from faceflow.locations import local_path
from faceflow.settings import ModelSettings
from faceflow.vision.model_catalogue import ModelFile

_REMOTE = ("http", "https", "s3")


def addresses_of(file: ModelFile, folder: str, settings: ModelSettings) -> tuple[str, ...]:
    """Full addresses of `file`, which lies at a mirror in `folder` (empty for archives).

    Raises:
        ModelError: `model.mirror_invalid`.
    """
    found = []
    if settings.mirror:
        found.append(_at_mirror(settings.mirror, [part for part in (folder, file.name) if part]))
    found += file.sources
    return tuple(one for one in found if not (settings.offline and _scheme(one) in _REMOTE))


def open_sources(addresses: Sequence[str], client: httpx.Client, settings: ModelSettings) -> list[tuple[str, Source]]:
    """The sources of these addresses."""
    return [(address, _source(address, client, settings.silence_s)) for address in addresses]


def _source(address: str, client: httpx.Client, silence_s: float) -> Source:
    scheme = _scheme(address)
    if scheme == "s3":
        return BucketSource(address, silence_s)
    if scheme in ("http", "https"):
        return HttpSource(address, client)
    return FolderSource(local_path(address))


def _scheme(address: str) -> str:
    return urlsplit(address).scheme.lower() if "://" in address else "file"


def _at_mirror(mirror: str, names: list[str]) -> str:
    scheme = _scheme(mirror)
    if "://" not in mirror:
        return "/".join((mirror.rstrip("/"), *names))
    parts = urlsplit(mirror)
    if scheme not in (*_REMOTE, "file") or (scheme != "file" and not parts.hostname):
        raise ModelError(
            "model.mirror_invalid",
            f"FACEFLOW_MODELS__MIRROR is {shown(mirror)!r}, which is not a mirror address.",
            "Use a folder, http(s)://host/path or s3://bucket/prefix.",
        )
    path = "/".join((parts.path.rstrip("/"), *map(quote, names)))
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))  # the query may hold an access token
