"""Names that are not UTF-8 in the list of a campaign, in its folder, and in what is sent to a worker.

Varied: how the name comes into the list (a folder of the list, an escape in a JSON line, a `file://` URI, a folder of
portraits), and text that no file, no JSON and no database can hold. The same bytes come out, or a line is named.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from faceflow.errors import JobError
from faceflow.flows.campaigns.batch_placement import _sent
from faceflow.gateway.cli.request import build_job, labels_of
from faceflow.infrastructure.books.campaigns.books import jobs_of, next_waiting, remember_campaign, waiting_routes
from faceflow.infrastructure.books.campaigns.manifest import read_manifest
from faceflow.infrastructure.books.campaigns.rows import Row
from faceflow.infrastructure.books.campaigns.sources import CampaignSource, read_source
from faceflow.infrastructure.books.database.database import Database
from faceflow.infrastructure.settings import Settings
from faceflow.job import SwapJob
from faceflow.locations import local_path
from faceflow.settings import PathSettings
from tests.faces import ASTRONAUT
from tests.in_process import code_of, given

FOLDER, FACE, OUT = b"folder \xfb", b"face\xfd.png", b"out\xff.mp4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name, and whose portrait's name, is not UTF-8."""
    folder = tmp_path / os.fsdecode(FOLDER)
    folder.mkdir()
    shutil.copy(ASTRONAUT, folder / os.fsdecode(FACE))
    shutil.copy(ASTRONAUT, folder / "plain.png")
    return folder


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def bytes_of(location: str) -> bytes:
    location.encode()
    return os.fsencode(local_path(location))


def sent(row: Row) -> SwapJob:
    """The job as a worker gets it: by JSON in UTF-8, and from what the database kept."""
    kept = Row.model_validate_json(row.model_dump_json().encode())
    assert kept == row
    text = json.dumps(kept.job.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False).encode()
    return SwapJob.model_validate(json.loads(text))


def test_a_list_in_such_a_folder(folder: Path) -> None:
    path = folder / "list.csv"
    path.write_text("portrait,target,output\nplain.png,plain.png,out.png\n")
    (row,) = read_manifest(path)
    job = sent(row)
    assert bytes_of(job.target) == os.fsencode(folder) + b"/plain.png"
    assert bytes_of(job.output) == os.fsencode(folder) + b"/out.png"
    assert local_path(job.sources[0].portraits[0]).is_file()


def test_names_in_json_lines(folder: Path) -> None:
    uri = (folder / os.fsdecode(OUT)).as_uri()
    row = {"portrait": os.fsdecode(FACE), "target": "plain.png", "output": uri}
    (found,) = read_manifest(written(folder / "list.jsonl", row))
    job = sent(found)
    assert local_path(job.sources[0].portraits[0]).is_file()
    assert bytes_of(job.output) == os.fsencode(folder) + b"/" + OUT


def test_an_address_in_a_list_is_no_relative_path(tmp_path: Path) -> None:
    row = {"portrait": "a.png", "target": "file:///films/a%20b.mp4", "output": "s3://bucket/out.mp4"}
    (found,) = read_manifest(written(tmp_path / "list.jsonl", row))
    assert local_path(found.job.target) == Path("/films/a b.mp4")
    assert found.job.output == "s3://bucket/out.mp4"


def test_portraits_in_such_a_folder(folder: Path, tmp_path: Path) -> None:
    source = CampaignSource(
        portraits=str(folder), target=str(folder / os.fsdecode(b"clip\xff.mp4")), output=str(tmp_path)
    )
    source.location.encode()
    rows = {bytes_of(sent(row).sources[0].portraits[0]): sent(row) for row in read_source(source, Settings())}
    assert set(rows) == {os.fsencode(folder) + b"/" + FACE, os.fsencode(folder) + b"/plain.png"}
    assert bytes_of(rows[os.fsencode(folder) + b"/" + FACE].output) == os.fsencode(tmp_path) + b"/face\xfd-png.mp4"


@pytest.mark.parametrize(
    "row",
    [
        {"target": "half \ud800"},
        {"target": "NUL \0"},
        {"target": "file:///%00"},
        {"label.kind": "\udcff"},
        {"label": {"\udcff": "a"}},
        {"swap.engine": "\udcff"},
        {"consent.subject": "\udcff"},
        {"project": "\udcff"},
    ],
    ids=repr,
)
def test_what_is_no_name_and_no_text_is_told_with_its_line(row: dict[str, Any], tmp_path: Path) -> None:
    good = {"portrait": "a.png", "target": "b.mp4", "output": "c.mp4"}
    path = written(tmp_path / "list.jsonl", good, {**good, "output": "d.mp4", **row})
    with pytest.raises(JobError) as caught:
        read_manifest(path)
    assert caught.value.code == "job.manifest_invalid"
    assert "line 2: " in caught.value.message
    json.dumps(caught.value.to_dict(), ensure_ascii=False).encode()


def test_it_is_kept_and_placed(folder: Path, tmp_path: Path) -> None:
    rows = read_manifest(
        written(folder / "list.jsonl", {"portrait": os.fsdecode(FACE), "target": "plain.png", "output": "o.png"})
    )
    settings = Settings(paths=PathSettings(state=tmp_path / "state", scratch=tmp_path / "scratch"))
    with Database.open(settings) as database:
        assert remember_campaign(database, "film", "list.jsonl", rows, datetime.now(UTC)) == 1
        (route,) = waiting_routes(database, "film")
        (job,) = next_waiting(database, "film", route, 5)
        assert [one.row for one in jobs_of(database, "film")] == list(rows)
    json.dumps(_sent(job), ensure_ascii=False).encode()


def test_the_command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_PATHS__STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.chdir(folder)
    written(
        folder / os.fsdecode(b"list\xfe.jsonl"),
        {"portrait": os.fsdecode(FACE), "target": "plain.png", "output": "o.png"},
    )
    known = ["--name", "film"]
    run = given(["campaign", "run", os.fsdecode(b"list\xfe.jsonl"), *known, "--json"])
    assert (run.exit_code, code_of(run)) == (1, "server.unreachable"), run.stderr
    status = given(["campaign", "status", "film", "--json", "--report", os.fsdecode(b"report\xfe.jsonl")])
    assert (status.exit_code, status.answer["jobs"]) == (0, 1)
    report = json.loads((folder / os.fsdecode(b"report\xfe.jsonl")).read_text())
    assert bytes_of(report["output"]) == os.fsencode(folder) + b"/o.png"
    odd = given(
        ["campaign", "run", "--portraits", ".", "--target", "plain.png", "-o", ".", "--name", "\udcff", "--json"]
    )
    assert (odd.exit_code, code_of(odd)) == (2, "job.not_text")


def test_what_the_command_line_sends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `swap --remote` and `--dispatch` give to the server."""
    from faceflow.flows.run.queries import sent as sent_to_server

    monkeypatch.setenv("LOGNAME", "user\udcff")
    monkeypatch.chdir(folder)
    job = build_job(
        {"source": [os.fsdecode(FACE)]}, "plain.png", os.fsdecode(OUT),
        swap={}, encoding={}, consent_subject=None, consent_reference=None,
    )  # fmt: skip
    for parameters in (job.model_dump(mode="json"), sent_to_server(job)):
        came = SwapJob.model_validate(json.loads(json.dumps(parameters, ensure_ascii=False).encode()))
        assert bytes_of(came.sources[0].portraits[0]) == os.fsencode(folder) + b"/" + FACE
        assert bytes_of(came.output) == os.fsencode(folder) + b"/" + OUT
    with pytest.raises(JobError) as caught:
        labels_of(["kind=\udcff"])
    assert caught.value.code == "job.not_text"


def test_an_error_about_such_a_name_reaches_the_server() -> None:
    error = JobError("job.usage", "a\udcff", "b\udcfe", path="c\udcfd", problems=[{"message": "d\udcfc"}], count=2)
    assert json.loads(json.dumps(error.to_dict(), ensure_ascii=False).encode()) == {
        "code": "job.usage",
        "message": "a\\udcff",
        "resolution": "b\\udcfe",
        "retryable": False,
        "fields": {"path": "c\\udcfd", "problems": [{"message": "d\\udcfc"}], "count": 2},
    }
