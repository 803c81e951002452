"""May this model be used here? The licence policy, which fails closed.

A commercial deployment (`FACEFLOW_MODELS__COMMERCIAL`) takes models whose licence plainly allows commercial use and no
others; what a model needs to work (a recogniser, a converter) counts as part of it. Elsewhere, other licences have to
be accepted once: in the settings, or by `--accept-licence`, which leaves a note in the models folder:

    <models folder>/.accepted/<licence>
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from faceflow.errors import FaceflowError, ModelError
from faceflow.publish import output_error, publishing
from faceflow.settings import SwapSettings
from faceflow.vision.model_catalogue import Catalogue, Licence, ModelEntry, catalogue

_ACCEPTED = ".accepted"


def accepted_licences(settings: SwapSettings) -> frozenset[str]:
    """Names of the licences that were accepted for non-commercial use, here or by other users of the folder."""
    noted = settings.models_folder / _ACCEPTED
    names = (path.name for path in noted.iterdir() if not path.name.startswith(".")) if noted.is_dir() else ()
    return frozenset((*settings.models.accepted_licences, *names))


def accept(licences: Iterable[Licence], folder: Path) -> None:
    """Notes in the models folder that these licences were accepted, so that nobody is asked again.

    Raises:
        OutputError, ResourceError, StoreError: the note cannot be written.
    """
    noted = folder / _ACCEPTED
    for licence in licences:
        path = noted / licence.name
        try:
            noted.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(error, path) from error
        if not path.exists():
            with publishing(path) as temporary:
                temporary.write_text(f"{licence.title}\naccepted {datetime.now(UTC).isoformat(timespec='seconds')}\n")


def open_licences(entry: ModelEntry, settings: SwapSettings, known: Catalogue | None = None) -> tuple[Licence, ...]:
    """The licences of the model and of all that it needs which nobody has accepted here yet."""
    accepted = accepted_licences(settings)
    licences = {one.licence.name: one.licence for one in (known or catalogue(settings)).with_needs([entry.name])}
    return tuple(one for one in licences.values() if not one.commercial_ok and one.name not in accepted)


def refusal(entry: ModelEntry, settings: SwapSettings, known: Catalogue | None = None) -> FaceflowError | None:
    """Why the model may not be used here, None where it may."""
    known = known or catalogue(settings)
    if settings.models.commercial:
        for one in known.with_needs([entry.name]):
            if not one.commercial_ok:
                part = "" if one.name == entry.name else f", which {entry.name!r} needs,"
                return ModelError(
                    "model.licence",
                    f"This is a commercial deployment, but the licence of the model {one.name!r}{part} does not "
                    f"clearly allow commercial use: {one.licence.title}.",
                    "Choose a model that `faceflow models list` shows as commercial, or obtain a licence and "
                    "record it in your own catalogue file (FACEFLOW_MODELS__EXTRA).",
                    model=one.name,
                    licence=one.licence.name,
                )
        return None
    unaccepted = open_licences(entry, settings, known)
    if not unaccepted:
        return None
    names = ", ".join(one.name for one in unaccepted)
    titles = "; ".join(f"{one.name}: {one.title}" for one in unaccepted)
    return ModelError(
        "model.licence",
        f"The model {entry.name!r} is not licensed for commercial use, and its terms have not been accepted yet "
        f"({titles}).",
        f"Read the terms, then run `faceflow models pull {entry.name} --accept-licence`, or list {names} in "
        "FACEFLOW_MODELS__ACCEPTED_LICENCES.",
        model=entry.name,
        licence=names,
    )


def allowed(entry: ModelEntry, settings: SwapSettings, known: Catalogue | None = None) -> bool:
    """Whether the model, with all that it needs, may be used here."""
    return refusal(entry, settings, known) is None


def require_allowed(entry: ModelEntry, settings: SwapSettings, known: Catalogue | None = None) -> None:
    """Raises `ModelError` `model.licence` where the model may not be used here."""
    reason = refusal(entry, settings, known)
    if reason is not None:
        raise reason
