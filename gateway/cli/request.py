"""From command-line arguments to a `SwapJob`: paths made absolute, consent declared, mistakes said in one line."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from faceflow.errors import JobError
from faceflow.job import Consent, OutputOptions, Source, SwapJob, SwapOptions
from faceflow.locations import local_path


def operator() -> str:
    """The user who gives the command, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown operator"


def build_job(
    portraits: Sequence[str],
    target: str,
    output: str,
    *,
    swap: dict[str, Any],
    encoding: dict[str, Any],
    consent_subject: str | None,
    consent_reference: str | None,
    **job: Any,
) -> SwapJob:
    """The job that a command line asks for. Options given as None keep the job's defaults.

    Whoever runs the command declares the consent unless a record is referenced; the declaration is kept with the job.

    Raises:
        JobError: `job.invalid`, naming the field and what is wrong with it.
    """
    try:
        consent = Consent(
            subject=consent_subject or "the person in the source portraits",
            scope="this face swap",
            reference=consent_reference,
            declared_by=operator(),
        )
        return SwapJob(
            sources=(Source(portraits=tuple(str(local_path(portrait)) for portrait in portraits)),),
            target=str(local_path(target)),
            output=str(local_path(output)),
            swap=SwapOptions(**_given(swap)),
            encoding=OutputOptions(**_given(encoding)),
            consent=consent,
            **_given(job),
        )
    except ValidationError as error:
        raise invalid_job(error) from error


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def invalid_job(error: ValidationError) -> JobError:
    """The first mistakes of a request, in words."""
    mistakes = [f"{'.'.join(map(str, item['loc'])) or 'job'}: {item['msg']}" for item in error.errors()[:3]]
    return JobError(
        "job.invalid", "; ".join(mistakes) + ".", "Correct the request; `faceflow swap --help` lists the options."
    )
