"""The list of a campaign: a CSV or JSON-lines file with a job a line.

    greetings.csv      portrait,target,output,deadline,label.kind
                       anna.jpg,hello.mp4,out/anna.mp4,2026-12-24T18:00:00+00:00,campaign

A column is a field of `SwapJob` with dots (`swap.engine`, `consent.reference`); `portrait` is short for the portraits
of the one source (several with ` | ` between them). `frames`, `duration_s`, `width`, `height` and `faces` say what is
known of the target, `label.NAME` what rules may ask for. A JSON line is an object with the same names, or nested. What
all rows share stands once, in the defaults. Relative paths count from the manifest's folder.

All rows are read before anything starts; every mistake is named with its line.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from faceflow.errors import JobError
from faceflow.given_files import open_given
from faceflow.infrastructure.books.campaigns.rows import Row, Rows
from faceflow.locations import absolute, in_store, is_uri

FACTS = ("frames", "duration_s", "width", "height", "faces")
Line = tuple[int, dict[str, Any] | str]
"""A line's number and its object, or what is wrong with it."""
Problem = tuple[int, str]
_SHOWN = 20
_PATHS = ("target", "output")


def read_manifest(path: Path, defaults: Mapping[str, Any] | None = None) -> Rows:
    """The rows of a manifest, `.csv`, `.jsonl` or `.ndjson`.

    Raises:
        JobError: `job.manifest_unreadable`; `job.manifest_invalid`, naming the lines that are wrong and why.
    """
    ending = path.suffix.lower()
    if ending not in {".csv", ".jsonl", ".ndjson"}:
        raise JobError(
            "job.manifest_unreadable",
            f"{path.name!r} is neither a CSV nor a JSON Lines file.",
            "Use the ending of its format: .csv or .jsonl.",
        )
    try:
        with io.TextIOWrapper(open_given(path), encoding="utf-8-sig", newline="") as file:
            lines = _csv_lines(file) if ending == ".csv" else _json_lines(file)
            return rows_of(str(path), lines, path.absolute().parent, defaults or {})
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(
            "job.manifest_unreadable",
            f"The manifest {str(path)!r} cannot be read: {error}",
            "Check the path, and that it is UTF-8 text.",
        ) from error


def _csv_lines(file: IO[str]) -> Iterator[Line]:
    reader = csv.reader(file, strict=True)
    try:
        header = next(reader, [])
        names = [name.strip() for name in header]
        if len(set(names)) != len(names) or not all(names):
            yield 1, "the header must name every column exactly once"
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                yield reader.line_num, f"{len(cells)} cells, but the header has {len(names)}"
                continue
            yield reader.line_num, {name: cell for name, cell in zip(names, cells, strict=True) if cell.strip()}
    except csv.Error as error:
        yield reader.line_num, f"not CSV: {error}"


def _json_lines(file: IO[str]) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            yield number, f"not JSON: {error}"
            continue
        except RecursionError:
            yield number, "nested too deeply"
            continue
        yield number, value if isinstance(value, dict) else "not a JSON object"


def rows_of(source: str, lines: Iterable[Line], folder: Path, defaults: Mapping[str, Any]) -> Rows:
    """The rows of numbered lines, paths in them counted from `folder`.

    Raises:
        JobError: `job.manifest_invalid`, naming the lines that are wrong and why.
    """
    rows = Rows()
    problems: list[Problem] = []
    outputs: dict[str, int] = {}
    common = _nested(defaults)
    for number, value in lines:
        if isinstance(value, str):
            problems.append((number, value))
            continue
        try:
            row = _row(number, value, folder, common)
            first = outputs.setdefault(row.job.output, number)
            if first != number:
                problems.append((number, f"writes the same output as line {first}"))
            if not problems:
                rows.append(row)
        except ValidationError as error:
            problems += [(number, f"{_field(item['loc'])}: {item['msg']}") for item in error.errors()[:3]]
        except JobError as error:
            problems.append((number, error.message))
        except ValueError as error:
            problems.append((number, str(error)))
        except RecursionError:
            problems.append((number, "nested too deeply"))
    if problems or not len(rows):
        raise _invalid(source, problems or [(1, "it contains no jobs")])
    return rows


def _row(number: int, value: Mapping[str, Any], folder: Path, common: Mapping[str, Any]) -> Row:
    fields = _merged(common, _nested(value))
    facts = {name: fields.pop(name) for name in FACTS if name in fields}
    labels = fields.pop("label", None) or fields.pop("labels", None) or {}
    portrait = fields.pop("portrait", None)
    if portrait is not None:
        several = portrait.split(" | ") if isinstance(portrait, str) else portrait
        fields["sources"] = [{"portraits": [_placed(one, folder) for one in several]}]
    for name in _PATHS:
        if isinstance(fields.get(name), str):
            fields[name] = _placed(fields[name], folder)
    return Row.model_validate({"line": number, "job": fields, "labels": labels, **facts})


def _placed(location: Any, folder: Path) -> Any:
    if not isinstance(location, str) or in_store(location):
        return location
    given = location.strip()
    return absolute(given if is_uri(given) else str(folder / given))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"swap.engine": x}` as `{"swap": {"engine": x}}`."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        inside = nested
        for part in path:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise ValueError(f"{name}: {part} is already set as a whole")  # noqa: TRY004 - a mistake in a file
        inside[last] = _nested(value) if isinstance(value, Mapping) else value
    return nested


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for name, value in own.items():
        before = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


def _field(location: tuple[int | str, ...]) -> str:
    path = [str(part) for part in location if part != "job"]
    return ".".join(path) or "job"


def _invalid(source: str, problems: list[Problem]) -> JobError:
    shown = [f"line {number}: {what}" for number, what in problems[:_SHOWN]]
    more = f" ... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return JobError(
        "job.manifest_invalid",
        f"{source}: " + "; ".join(shown) + more,
        "Correct these lines. Nothing was started.",
        problems=[{"line": number, "message": what} for number, what in problems[:1000]],
    )
