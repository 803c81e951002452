"""`faceflow models`: what it shows, fetches, checks and takes; its exit codes; one JSON object with --json."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
import structlog

from faceflow.gateway.cli.main import main
from faceflow.infrastructure.settings import current_settings
from faceflow.log import configure_logging
from faceflow.settings import LogSettings
from tests.conftest import Finished, Program
from tests.models.conftest import CONTENT, HEAD, OTHER, model, sha256
from tests.models.server import Behaviour, serving


@pytest.fixture
def server():
    with serving() as running:
        yield running


class Command:
    """`faceflow models ...` with a catalogue of its own: net and free (free, but needs part), part (not free).

    Runs in this process: starting a program for each of a hundred commands would take minutes.
    """

    def __init__(self, program: Program, tmp_path, server, monkeypatch, capsys):
        self.program, self.folder, self.server = program, tmp_path / "models here", server
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.extra = tmp_path / "extra.toml"
        text = HEAD
        for name, content, more in (("net", CONTENT, {}), ("part", OTHER, {"licence": "closed"})):
            server.files[f"/{name}.onnx"] = Behaviour(content)
            facts = f'size_bytes = {len(content)}, sha256 = "{sha256(content)}"'
            text += model(name, file=f'{facts}, sources = ["{server.url}/{name}.onnx"]', **more)
        server.files["/free.onnx"] = Behaviour(CONTENT)
        text += model("free", more='needs = ["part"]', file=f'sources = ["{server.url}/free.onnx"]')
        self.extra.write_text(text)

    def environment(self, variables):
        return {"FACEFLOW_MODELS__FOLDER": str(self.folder), "FACEFLOW_MODELS__EXTRA": str(self.extra), **variables}

    def __call__(self, *arguments, **variables):
        with self.monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("FACEFLOW_")]:
                patch.delenv(name)
            for name, value in {**self.program.environment, **self.environment(variables)}.items():
                patch.setenv(name, value)
            current_settings.cache_clear()
            exit_code = main(["models", *arguments])
        current_settings.cache_clear()
        return Finished(exit_code, *self.capsys.readouterr())

    def answer(self, *arguments, code=0, **variables):
        finished = self(*arguments, "--json", **variables)
        assert finished.exit_code == code, finished
        return finished.answer

    def error(self, *arguments, code, **variables):
        answer = self.answer(*arguments, code=code, **variables)
        assert answer["resolution"]
        return answer["code"]


@pytest.fixture
def models(offline_program, tmp_path, server, monkeypatch, capsys):
    """`faceflow models` in this process, whose log is as before afterwards."""
    yield Command(offline_program, tmp_path, server, monkeypatch, capsys)
    structlog.reset_defaults()
    configure_logging(LogSettings())
    structlog.reset_defaults()


def test_pull_path_verify_list(models):
    assert models.answer("pull", "net") == {"pulled": ["net"], "present": [], "folder": str(models.folder)}
    assert models.answer("pull", "net")["present"] == ["net"]
    path = models.answer("path", "net")
    assert path == {"name": "net", "path": str(models.folder / "net" / "net.onnx"), "sha256": sha256(CONTENT)}
    assert models("path", "net").stdout == f"{path['path']}\n"
    assert models.answer("verify") == {
        "good": True,
        "models": [{"name": "net", "good": True, "sha256": sha256(CONTENT), "published": True, "error": None}],
    }
    rows = {row["name"]: row for row in models.answer("list")["models"]}
    assert (rows["net"]["state"], rows["net"]["commercial"], rows["net"]["licence"]) == ("verified", True, "open")
    assert (rows["free"]["state"], rows["free"]["commercial"]) == ("missing", False), "what it needs counts"
    assert rows["inswapper_128"]["size_bytes"] == 554253681
    assert {row["kind"] for row in models.answer("list", "--kind", "masker")["models"]} == {"masker"}


def test_the_table_cuts_no_name(models):
    shown = models("list").stdout
    assert "restoreformer_plus_plus_fp16" in shown
    assert "InsightFace, non-commercial research only" in shown
    assert str(models.folder) in shown


def test_a_damaged_file_is_told_and_pulled_again(models):
    models.answer("pull", "net")
    file = models.folder / "net" / "net.onnx"
    file.write_bytes(OTHER)
    checked = models.answer("verify", "net", code=1)
    assert (checked["good"], checked["models"][0]["error"]["code"]) == (False, "model.hash")
    assert "bad" in models("verify").stdout
    assert models.error("path", "net", code=1) == "model.hash"
    assert models.answer("pull", "net")["pulled"] == ["net"]
    assert file.read_bytes() == CONTENT


def test_licences(models):
    assert models.error("pull", "free", code=2) == "model.licence"
    assert models.server.seen == []
    assert models.answer("pull", "free", FACEFLOW_MODELS__ACCEPTED_LICENCES="closed")["pulled"] == ["part", "free"]
    assert models.error("path", "free", code=2) == "model.licence"
    said = models("pull", "free", "--accept-licence", FACEFLOW_LOG__FORMAT="human")
    assert "accepted  closed  Research only" in said.stderr
    assert models.answer("path", "free")["name"] == "free", "accepted once"
    assert (
        models.error("pull", "part", "--accept-licence", code=2, FACEFLOW_MODELS__COMMERCIAL="true") == "model.licence"
    )
    assert models.error("path", "free", code=2, FACEFLOW_MODELS__COMMERCIAL="true") == "model.licence"
    assert models.answer("path", "net", code=1, FACEFLOW_MODELS__COMMERCIAL="true")["code"] == "model.missing"


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["pull"], "job.usage", 2),
        (["pull", "nett"], "model.unknown", 2),
        (["pull", "--for-pool", "gpu"], "job.pool_unknown", 2),
        (["pull", "--all-of", "hat"], "job.usage", 2),
        (["verify", "nett"], "model.unknown", 2),
        (["path", "net"], "model.missing", 1),
        (["import", "nothing.onnx"], "model.import_unreadable", 2),
        (["import", "/dev"], "model.import_unreadable", 2),
    ],
)
def test_errors(models, arguments, code, exit_code):
    assert models.error(*arguments, code=exit_code) == code


def test_a_failed_pull_is_one_object(models):
    models.server.files.clear()
    finished = models("pull", "net", "--json")
    assert (finished.exit_code, finished.answer["code"]) == (1, "model.unavailable")


def test_pools_and_kinds(models):
    pulled = models.answer("pull", "--for-pool", "gpu", FACEFLOW_MODELS__POOLS='{"gpu": ["net"]}')["pulled"]
    assert pulled == ["net"]
    assert models.error("pull", "--all-of", "swapper", code=2) == "model.licence"


def test_offline(models):
    assert models.error("pull", "net", code=1, FACEFLOW_MODELS__OFFLINE="true") == "model.offline"
    assert models.server.seen == []


def test_import(models, tmp_path):
    brought = tmp_path / "some name.bin"
    brought.write_bytes(CONTENT)
    assert models.answer("import", str(brought))["imported"] == ["net"], "recognised by its hash"
    assert models.answer("path", "net")["sha256"] == sha256(CONTENT)
    brought.write_bytes(OTHER)
    assert models.error("import", str(brought), "--as", "net", code=1) == "model.hash"
    assert models.error("import", str(brought), code=2) == "model.licence"
    assert models.answer("import", str(brought), "--accept-licence")["imported"] == ["part"]
    brought.write_bytes(CONTENT[:-9])
    assert models.error("import", str(brought), code=2) == "model.import_unknown"
    assert models.error("import", str(brought), "--as", "net", code=1) == "model.truncated"
    assert models.error("import", str(brought), "--as", "free", code=1) == "model.not_onnx"
    assert models.answer("path", "net")["sha256"] == sha256(CONTENT)
    assert models.server.seen == []


def test_lines_where_no_terminal_is(models):
    said = models("pull", "net", FACEFLOW_LOG__FORMAT="human")
    assert said.exit_code == 0
    assert said.stderr.splitlines()[0] == "net.onnx  0 MB of 0.2 MB"
    assert said.stderr.splitlines()[-1] == "net.onnx  verified"
    assert "pulled" in said.stdout


def test_events_where_json_lines_are_asked_for(models):
    said = models.program("models", "pull", "net", **models.environment({}))
    names = [event["event"] for event in said.events]
    assert "model.moved" in names
    assert names[-1] == "model.finished"
    assert len(said.events) == len(said.stderr.splitlines())


def test_a_bar_on_a_terminal(models):
    ours, theirs = pty.openpty()
    environment = {**models.program.environment, **models.environment({"FACEFLOW_LOG__FORMAT": "human"})}
    models.server.files["/net.onnx"].pause_s = 0.05
    process = subprocess.Popen(
        [sys.executable, "-m", "faceflow.gateway.program", "models", "pull", "net"],
        env={**environment, "TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "pulled" in stdout
    assert b"net.onnx" in shown
    assert "━".encode() in shown


def test_a_wrong_catalogue_of_ones_own(models):
    models.extra.write_text("[model.x]\nkind = 3")
    assert models.error("list", code=2) == "model.catalogue_invalid"


def test_the_doctor_sees_them(models):
    def found(**variables):
        done = Finished(*_doctor(models, variables))
        return [one for one in done.answer["findings"] if "network" in one["what"] or "licence" in one["what"]]

    assert [(one["level"], one["resolution"]) for one in found()] == [("note", "faceflow models list")]
    models.answer("pull", "net")
    (good,) = found()
    assert (good["level"], good["found"]) == ("good", f"net in {models.folder}")
    models.answer("pull", "part", FACEFLOW_MODELS__ACCEPTED_LICENCES="closed")
    assert [one["what"] for one in found()] == ["published networks", "licence of part"]
    (models.folder / "net" / "net.onnx").write_bytes(CONTENT[:-1])
    assert (found()[0]["level"], found()[0]["found"]) == ("problem", "damaged: net")


def _doctor(models, variables):
    with models.monkeypatch.context() as patch:
        for name, value in {**models.program.environment, **models.environment(variables)}.items():
            patch.setenv(name, value)
        current_settings.cache_clear()
        exit_code = main(["doctor", "--json"])
    current_settings.cache_clear()
    return exit_code, *models.capsys.readouterr()
