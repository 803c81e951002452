"""From command-line arguments to a `SwapJob`: paths made absolute, consent declared, mistakes said in one line."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from faceflow.errors import JobError
from faceflow.job import Consent, FaceMapping, OutputOptions, Source, SwapJob, SwapOptions
from faceflow.locations import absolute, is_text

DEFAULT_SOURCE = "source"
MOST_DIGITS = 18
"""Longer digits are no number of anybody's; Python refuses to read thousands of them."""


def operator() -> str:
    """The user who gives the command, as the system calls them."""
    try:
        return getpass.getuser().encode(errors="backslashreplace").decode()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown operator"


def sources_of(portraits: Sequence[str], named: Sequence[str]) -> dict[str, list[str]]:
    """The portraits of each source by its name; portraits without a name are those of `source`.

    Args:
        portraits: locations.
        named: `NAME=LOCATION` each; the same name may come several times.

    Raises:
        JobError: `job.usage` for one without a name.
    """
    sources: dict[str, list[str]] = {DEFAULT_SOURCE: list(portraits)} if portraits else {}
    for text in named:
        name, equals, location = text.partition("=")
        if not (name and equals and location):
            raise JobError(
                "job.usage",
                f"{text!r} is not a named source.",
                "Write --source NAME=PORTRAIT, such as --source anna=anna.png.",
            )
        sources.setdefault(name, []).append(location)
    return sources


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Labels from `NAME=VALUE` texts. Raises JobError `job.usage` for another form, `job.not_text` for no UTF-8."""
    labels = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise JobError(
                "job.usage", f"{text!r} is not a label.", "Write --label NAME=VALUE, such as --label kind=campaign."
            )
        if not is_text(text):
            raise JobError("job.not_text", f"The label {text!r} is not UTF-8.", "Write it in UTF-8.")
        labels[name] = value
    return labels


def mappings_of(texts: Sequence[str], sources: Sequence[str]) -> list[FaceMapping]:
    """The face map that `PERSON=NAME` texts ask for.

    PERSON is a number in the list that `faceflow faces` prints, or else a reference picture. Where the job has one
    source, `=NAME` may be left out.

    Raises:
        JobError: `job.usage` where the source is missing or not one of the job's, `job.invalid` where nobody can be
            meant by PERSON.
    """
    mappings = []
    for text in texts:
        person, equals, source = text.rpartition("=")
        # A picture's name may hold an equals sign; a number's cannot.
        if not equals or (source not in sources and not person.isdecimal() and len(sources) == 1):
            person, source = (text, sources[0]) if len(sources) == 1 else ("", "")
        if not person or source not in sources:
            raise JobError(
                "job.usage",
                f"--map {text!r} does not name one of the sources ({', '.join(sources)}).",
                "Write --map PERSON=NAME, where PERSON is a number from `faceflow faces TARGET` or a picture, "
                "and NAME is a source.",
            )
        try:
            if person.isdecimal() and len(person) <= MOST_DIGITS:
                mappings.append(FaceMapping(person=int(person), source=source))
            else:
                mappings.append(FaceMapping(reference=absolute(person), source=source))
        except ValidationError as error:
            raise invalid_job(error) from error
    return mappings


def ages_of(text: str | None) -> tuple[int | None, int | None]:
    """Youngest and oldest of `18-40`, `18-` or `-40`; None where there is no bound.

    Raises:
        JobError: `job.usage` for anything else.
    """
    if text is None:
        return None, None
    youngest, dash, oldest = text.replace(" ", "").partition("-")
    ages = [part for part in (youngest, oldest) if part]
    if not dash or not ages or not all(part.isdecimal() and len(part) <= MOST_DIGITS for part in ages):
        raise JobError(
            "job.usage", f"--age {text!r} is not a range of years.", "Write --age 18-40, --age 18- or --age=-40."
        )
    return int(youngest) if youngest else None, int(oldest) if oldest else None


def build_job(
    sources: Mapping[str, Sequence[str]],
    target: str,
    output: str,
    *,
    swap: dict[str, Any],
    encoding: dict[str, Any],
    consent_subject: str | None,
    consent_reference: str | None,
    **job: Any,
) -> SwapJob:
    """The job that a command line asks for: each source's portraits by its name, and so on.

    Options given as None keep the job's defaults.

    The user of the command declares the consent unless a record is referenced; the declaration is kept with the job.

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
            sources=tuple(
                Source(name=name, portraits=tuple(map(absolute, portraits))) for name, portraits in sources.items()
            ),
            target=absolute(target),
            output=absolute(output),
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
