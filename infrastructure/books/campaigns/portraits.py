"""A campaign without a list: the portraits below a folder or below a prefix in a store, each put into one video.

    selfies/anna.jpg, s3://bucket/selfies/anna.jpg ─▶ portrait anna.jpg, target hello.mp4, output out/anna-jpg.mp4

What counts as a portrait is told by its name alone, here and there alike, and nothing is opened. The rows come in the
order of the names, so that the same portraits are the same list again; portraits that came meanwhile are new rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from faceflow.errors import JobError
from faceflow.infrastructure.books.campaigns.manifest import rows_of
from faceflow.infrastructure.books.campaigns.rows import Rows
from faceflow.infrastructure.stores.resolve import prefix_for
from faceflow.infrastructure.stores.store_settings import SettingsWithStores
from faceflow.job import Sensitivity
from faceflow.locations import in_store, local_path, name_of

PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".avif"}
"""Endings (lower case) that portraits have, as cameras, phones and browsers name them."""

_READ_ONLY = {".heic", ".heif", ".hif", ".jpe", ".jfif"}


def portraits_of(
    portraits: str, target: str, output: str, defaults: Mapping[str, Any], settings: SettingsWithStores
) -> Rows:
    """A row for every picture below a folder or prefix: that person into `target`, the result named after the portrait.

    Args:
        portraits: a folder, or the address of a prefix (`s3://bucket/selfies`, `store://NAME`).
        target: the video or picture, a path or an address.
        output: the folder of the results, a path or the address of a prefix.
        defaults: what all rows share. Their sensitivity decides whether a store may be listed.
        settings: the configured stores.

    Raises:
        JobError: `job.manifest_unreadable` where no picture lies there; `job.manifest_invalid`; as `prefix_for`.
        TrustError: `trust.zone`, where such media may not lie in the store; it is not asked for anything.
        StoreError, StoreSetupError: as `Store`.
    """
    names = _in_store(portraits, defaults, settings) if in_store(portraits) else _in_folder(local_path(portraits))
    chosen = sorted(name for name in names if PurePosixPath(name).suffix.lower() in PICTURES)
    if not chosen:
        raise JobError(
            "job.manifest_unreadable",
            f"There is no picture under {portraits!r}.",
            "Choose a folder or a store prefix that contains portraits (JPEG, PNG, WebP, HEIC, AVIF).",
        )
    source = portraits.rstrip("/") if in_store(portraits) else str(local_path(portraits))
    place = output.rstrip("/") if in_store(output) else str(local_path(output))
    ending = PurePosixPath(name_of(target)).suffix
    if ending.lower() in _READ_ONLY:  # such targets are read; their results are written as JPEG
        ending = ".jpg"
    lines = (
        (
            number,
            {
                "portrait": [f"{source}/{name}"],
                "target": target,
                # The picture's ending stays in the name: anna.jpg and anna.png are two portraits.
                "output": f"{place}/{name.replace('/', '-').replace('.', '-')}{ending}",
            },
        )
        for number, name in enumerate(chosen, 1)
    )
    return rows_of(portraits, lines, Path.cwd(), defaults)


def _in_folder(folder: Path) -> Iterable[str]:
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _in_store(location: str, defaults: Mapping[str, Any], settings: SettingsWithStores) -> Iterable[str]:
    store, prefix = prefix_for(location, settings)
    keys = store.keys(prefix, _sensitivity(defaults))
    inside = len(prefix) + 1 if prefix else 0
    return (key[inside:] for key in keys)


def _sensitivity(defaults: Mapping[str, Any]) -> Sensitivity:
    given = defaults.get("sensitivity", Sensitivity.PUBLIC)
    try:
        return Sensitivity(given)
    except ValueError:
        raise JobError(
            "job.manifest_invalid",
            f"Unknown sensitivity in the defaults: {given!r}.",
            f"One of {', '.join(Sensitivity)}. Nothing was started.",
        ) from None
