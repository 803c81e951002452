"""`faceflow examples FOLDER`: the pools, rules, scenarios and deployments that the documentation refers to.

A checkout has them in `deployments/`; a wheel carries copies (hatch_build.py puts them in), which this command writes
where the user can change them. Nothing that exists is overwritten.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import faceflow
from faceflow.errors import FaultError, OutputError
from faceflow.gateway.cli.screen import print_json, result_console
from faceflow.installation import installation

PATTERNS = ("policies/*.yaml", "scenarios/*.yaml", "prefect.yaml")
"""What the examples are, below `deployments/`; hatch_build.py names the same folders."""


def examples(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write them; it is created if missing.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Write example pools, rules, scenarios and prefect.yaml into a folder, to start from."""
    source = _source()
    files = sorted(path.relative_to(source) for pattern in PATTERNS for path in source.glob(pattern))
    if not files:
        raise FaultError(
            "fault.examples_missing", "This installation contains no examples.", f"{installation().anew()}."
        )
    _require_new([folder / file for file in files])
    for file in files:
        _write(folder / file, (source / file).read_bytes())
    if as_json:
        print_json({"folder": str(folder.absolute()), "files": [file.as_posix() for file in files]})
    else:
        for file in files:
            result_console().print(escape(str(folder / file)))


def _source() -> Path:
    """The copies in a wheel, or the originals of a checkout."""
    package = Path(faceflow.__file__).resolve().parent
    carried = package / "examples"
    return carried if carried.is_dir() else package.parent / "deployments"


def _require_new(files: list[Path]) -> None:
    try:
        there = [str(file) for file in files if file.exists() or file.is_symlink()]
    except OSError as error:
        raise _not_writable(files[0], error) from error
    if there:
        raise OutputError(
            "output.example_exists",
            f"These files already exist, and nothing was written: {', '.join(there)}.",
            "Choose another folder, or move these files away.",
            files=there,
        )


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as written:
            written.write(content)
    except OSError as error:
        raise _not_writable(file, error) from error


def _not_writable(file: Path, error: OSError) -> OutputError:
    return OutputError(
        "output.not_writable",
        f"{str(file)!r} cannot be written: {error.strerror}.",
        "Choose a folder that you can write to.",
    )
