"""Files that were brought by hand are checked like downloads; archives are unpacked."""

from __future__ import annotations

import pytest

from faceflow.errors import FaceflowError
from faceflow.infrastructure.models.importing import import_file
from faceflow.vision.model_cache import ModelCache
from tests.models.conftest import CONTENT, OTHER, packed


class Import:
    def __init__(self, bench, tmp_path):
        self.bench, self.file = bench, tmp_path / "brought.bin"

    def __call__(self, content, name=None, **models):
        self.file.write_bytes(content)
        return import_file(self.file, name, self.bench.settings(**models), known=self.bench.known)

    def code(self, content, name=None, **models):
        with pytest.raises(FaceflowError) as caught:
            self(content, name, **models)
        return caught.value.code


@pytest.fixture
def brought(bench, tmp_path):
    return Import(bench, tmp_path)


def test_a_file_is_recognised_by_its_hash(bench, brought):
    bench.add("net")
    bench.add("twin", OTHER)
    assert brought(OTHER, offline=True) == ["twin"]
    assert bench.path("twin").read_bytes() == OTHER
    assert ModelCache(bench.tmp_path / "cache").record(bench.path("twin")).source == str(brought.file)
    assert brought.file.exists(), "it is copied"
    assert bench.pull("twin").present == ["twin"]


def test_without_a_hash_by_its_name(bench, brought):
    bench.add("net", facts="")
    assert brought.code(CONTENT) == "model.import_unknown"
    brought.file = brought.file.with_name("net.onnx")
    assert brought(CONTENT) == ["net"]
    assert brought.code(OTHER) == "model.hash", "the first hash holds"


@pytest.mark.parametrize(
    ("content", "code"),
    [(OTHER, "model.hash"), (CONTENT[:-1], "model.truncated"), (CONTENT + b"1", "model.hash")],
)
def test_a_wrong_file_is_told_in_its_own_words(bench, brought, content, code):
    bench.add("net")
    assert brought.code(content, "net") == code
    assert bench.files() == set()


def test_a_good_file_is_not_lost_to_a_bad_import(bench, brought):
    bench.add("net")
    brought(CONTENT, "net")
    assert brought.code(OTHER, "net") == "model.hash"
    assert bench.path().read_bytes() == CONTENT


def test_an_archive_brings_all_its_models(bench, brought, pack):
    assert brought(pack.content, offline=True) == ["one", "two"]
    assert (bench.path("one").read_bytes(), bench.path("two").read_bytes()) == (CONTENT, OTHER)
    assert bench.pull("both").present == ["one", "two"]
    assert brought.code(packed({"one.onnx": CONTENT})) == "model.import_unknown"


def test_licence_and_room_are_looked_at_first(bench, brought, monkeypatch):
    bench.add("net", licence="closed")
    assert brought.code(CONTENT) == "model.licence"
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000})())
    assert brought.code(CONTENT, accepted_licences=("closed",)) == "fault.disk_full"
    assert bench.files() == set()


def test_an_unknown_name_and_a_pack(bench, brought, pack):
    assert brought.code(CONTENT, "nett") == "model.unknown"
    assert brought.code(CONTENT, "both") == "model.import_unknown"
