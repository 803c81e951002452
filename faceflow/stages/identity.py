"""Which job this is: a name made of what the request contains, so that the same request is the same job.

Two commands with the same inputs (by content), options and output are one job: the second resumes the first after a
crash, attaches to it while it runs, and finds it done afterwards. What only says when, at what price and for whom a job
runs (priority, deadline, budget, callback, consent) is left out.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from faceflow.errors import FaceflowError, MediaError, PictureError
from faceflow.job import FrozenModel, SwapJob
from faceflow.locations import absolute, local_path
from faceflow.publish import sha256_of

_ID_HEX_DIGITS = 24  # 96 bits: no two jobs of one installation meet by chance


class JobIdentity(FrozenModel):
    """A job's name and the content hashes it was made of.

    `job_id` is 24 hexadecimal digits. `portraits_sha256` has one tuple a source, in the job's order, and
    `references_sha256` one entry a face mapping that names a picture.
    """

    job_id: str
    project: str
    target_sha256: str
    portraits_sha256: tuple[tuple[str, ...], ...]
    references_sha256: tuple[str, ...] = ()


def identify(job: SwapJob) -> JobIdentity:
    """Reads every input once and names the job.

    Raises:
        MediaError, PictureError: an input is missing or cannot be read.
        JobError: an input lies where this installation cannot open it.
    """
    target = _hash_input(local_path(job.target), "media")
    portraits = tuple(
        tuple(_hash_input(local_path(portrait), "picture") for portrait in source.portraits) for source in job.sources
    )
    references = tuple(
        _hash_input(local_path(mapping.reference), "picture") for mapping in job.face_map if mapping.reference
    )
    content = {
        "target": target,
        "sources": [[source.name, *hashes] for source, hashes in zip(job.sources, portraits, strict=True)],
        "references": references,
        "face_map": [mapping.model_dump(mode="json", exclude={"reference"}) for mapping in job.face_map],
        "swap": job.swap.model_dump(mode="json"),
        "encoding": job.encoding.model_dump(mode="json"),
        "output": absolute(job.output),
        "project": job.project,
        "sensitivity": job.sensitivity.value,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return JobIdentity(
        job_id=digest[:_ID_HEX_DIGITS],
        project=job.project,
        target_sha256=target,
        portraits_sha256=portraits,
        references_sha256=references,
    )


def _hash_input(path: Path, kind: Literal["media", "picture"]) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise input_error(path, kind, error) from error


def input_error(path: Path, kind: Literal["media", "picture"], error: OSError) -> FaceflowError:
    """What an operating-system error on reading an input means to the user."""
    family = MediaError if kind == "media" else PictureError
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return family(f"{kind}.missing", f"{str(path)!r} does not exist.", "Check the path and its spelling.")
    if isinstance(error, IsADirectoryError):
        return family(f"{kind}.is_directory", f"{str(path)!r} is a folder.", "Choose one file in the folder.")
    if isinstance(error, PermissionError):
        return family(
            f"{kind}.unreadable",
            f"{str(path)!r} cannot be read: permission denied.",
            "Allow the user that runs faceflow to read the file.",
        )
    return family(
        f"{kind}.unreadable",
        f"{str(path)!r} cannot be read: {error.strerror or error}.",
        "Check the disk or the mount.",
    )
