"""What lies in the models folder is what the catalogue names, or it is an error; hashed once per state of the file."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from faceflow import publish
from faceflow.errors import FaceflowError, ModelError, ModelFileError
from faceflow.publish import output_error
from faceflow.vision import model_cache
from faceflow.vision.model_cache import CacheState, ModelCache, ready_model
from faceflow.vision.model_catalogue import load_catalogue
from faceflow.vision.model_licence import accept, allowed
from faceflow.vision.onnx_header import fault_of
from tests.models.conftest import CONTENT, HEAD, OTHER, model, onnx_bytes, settings_for, sha256


class Place:
    """One model in a cache."""

    def __init__(self, tmp_path, **more):
        (tmp_path / "models.toml").write_text(HEAD + model("net", **more))
        self.entry = load_catalogue(tmp_path / "models.toml").find("net")
        self.file = self.entry.files[0]
        self.cache = ModelCache(tmp_path / "cache")
        self.path = self.cache.file_path(self.entry, self.file)
        self.path.parent.mkdir(parents=True)

    def code(self):
        with pytest.raises(ModelFileError) as caught:
            self.cache.path(self.entry)
        return caught.value.code


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed."""
    seen = []
    original = publish.sha256_of
    monkeypatch.setattr(model_cache, "sha256_of", lambda path: seen.append(path.name) or original(path))
    return seen


def test_a_good_file(tmp_path, hashed):
    place = Place(tmp_path)
    assert place.cache.state(place.entry) is CacheState.MISSING
    place.path.write_bytes(CONTENT)
    assert place.cache.state(place.entry) is CacheState.PRESENT
    assert place.cache.path(place.entry) == place.path
    assert place.cache.state(place.entry) is CacheState.VERIFIED
    assert ModelCache(tmp_path / "cache").path(place.entry) == place.path
    assert hashed == ["net.onnx"], "the record saves another process the hashing"
    place.cache.verify_file(place.entry, place.file, again=True)
    assert len(hashed) == 2


def test_missing_says_how_to_get_it(tmp_path):
    place = Place(tmp_path)
    with pytest.raises(ModelFileError) as caught:
        place.cache.path(place.entry)
    assert caught.value.code == "model.missing"
    assert "faceflow models pull net" in caught.value.resolution


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (CONTENT[:-1], "model.truncated"),
        (b"", "model.truncated"),
        (CONTENT + b"1", "model.hash"),
        (OTHER, "model.hash"),
    ],
)
def test_a_bad_file(tmp_path, content, code):
    place = Place(tmp_path)
    place.path.write_bytes(content)
    assert place.code() == code
    assert place.code() == code


def test_a_file_that_changes_later_is_seen(tmp_path):
    place = Place(tmp_path)
    place.path.write_bytes(CONTENT)
    place.cache.path(place.entry)
    place.path.write_bytes(OTHER)
    assert place.cache.state(place.entry) is CacheState.PRESENT
    assert place.code() == "model.hash"
    place.path.write_bytes(CONTENT)
    place.cache.path(place.entry)


def test_the_first_hash_is_trusted_and_then_holds(tmp_path):
    place = Place(tmp_path, file="sources = []")
    place.path.write_bytes(CONTENT)
    record = place.cache.verify_file(place.entry, place.file)
    assert (record.first_use, record.sha256) == (True, sha256(CONTENT))
    place.path.write_bytes(OTHER)
    assert place.code() == "model.hash"
    place.path.unlink()
    assert place.code() == "model.missing"
    place.path.write_bytes(OTHER)
    assert place.code() == "model.hash", "the record outlives the file"
    place.path.with_name("net.onnx.record").unlink()
    assert ModelCache(tmp_path / "cache").path(place.entry) == place.path


def test_a_published_hash_overrules_what_was_trusted(tmp_path):
    place = Place(tmp_path, file="sources = []")
    place.path.write_bytes(OTHER)
    place.cache.path(place.entry)
    (tmp_path / "models.toml").write_text(HEAD + model("net"))
    place.entry = load_catalogue(tmp_path / "models.toml").find("net")
    assert place.code() == "model.hash"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html>" + b"<p>Please log in</p>" * 1000,
        b'{"error": "not found"}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n",
        CONTENT[:-1],
        CONTENT[: len(CONTENT) // 2],
        CONTENT + b"\x00",
        b"\x08\x08",
        bytes(1000),
        b"\xff" * 1000,
    ],
)
def test_without_a_hash_the_outline_must_be_a_network(tmp_path, content):
    place = Place(tmp_path, file="sources = []")
    place.path.write_bytes(content)
    assert place.code() == "model.not_onnx"
    assert not place.path.with_name("net.onnx.record").exists()


def test_a_real_onnx_file_passes(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    ])  # fmt: skip
    made = onnx.helper.make_model(graph, producer_name="test", doc_string="a network")
    made.metadata_props.add(key="author", value="us")
    place = Place(tmp_path, file="sources = []")
    place.path.write_bytes(made.SerializeToString())
    place.cache.path(place.entry)


def test_outlines_of_any_size_pass(tmp_path):
    for number, size in enumerate((20, 200, 20_000, 3_000_000)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(onnx_bytes(size))
        assert fault_of(path) is None


def test_a_read_only_folder_is_remembered_in_memory(tmp_path, hashed, monkeypatch):
    place = Place(tmp_path)
    place.path.write_bytes(CONTENT)

    @contextmanager
    def refuse(path):
        raise output_error(PermissionError(13, "Permission denied", str(path)), path)
        yield  # type: ignore[unreachable] # a context manager that never gets there

    monkeypatch.setattr(model_cache, "publishing", refuse)
    place.cache.path(place.entry)
    place.cache.path(place.entry)
    assert hashed == ["net.onnx"]
    assert not place.path.with_name("net.onnx.record").exists()


def test_a_damaged_record_is_as_good_as_none(tmp_path):
    place = Place(tmp_path)
    place.path.write_bytes(CONTENT)
    place.path.with_name("net.onnx.record").write_text('{"sha256": 3')
    place.cache.path(place.entry)
    assert place.cache.state(place.entry) is CacheState.VERIFIED


def test_many_threads_hash_once(tmp_path, hashed):
    place = Place(tmp_path)
    place.path.write_bytes(CONTENT)
    gate = threading.Barrier(8)

    def ask(_):
        gate.wait()
        return place.cache.path(place.entry)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {place.path}
    assert hashed == ["net.onnx"]


def test_an_unreadable_file_is_told(tmp_path):
    place = Place(tmp_path, file="sources = []")
    place.path.mkdir()
    assert place.code() == "model.unreadable"


# --- licences --------------------------------------------------------------------------------------------------------


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """`ready_model("net", ...)` of a cache that holds it, with the given licence."""
    monkeypatch.setattr(model_cache, "catalogue", lambda settings: load_catalogue(tmp_path / "models.toml"))

    def call(licence="closed", more="", **models):
        (tmp_path / "models.toml").write_text(
            HEAD + model("part", OTHER, licence="closed") + model("net", licence=licence, more=more)
        )
        folder = tmp_path / "cache" / "net"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "net.onnx").write_bytes(CONTENT)
        return ready_model("net", settings_for(tmp_path, **models))

    return call


def refused(call, **arguments):
    with pytest.raises(ModelError) as caught:
        call(**arguments)
    assert caught.value.code == "model.licence"
    return caught.value


def test_a_free_licence_needs_nothing(ready, tmp_path):
    found = ready(licence="open", commercial=True)
    assert (found.path.name, found.sha256) == ("net.onnx", sha256(CONTENT))


def test_other_licences_are_accepted_once(ready, tmp_path):
    assert "--accept-licence" in refused(ready).resolution
    assert ready(accepted_licences="other, closed").entry.name == "net"
    refused(ready)
    settings = settings_for(tmp_path)
    accept([load_catalogue(tmp_path / "models.toml").find("net").licence], settings.models_folder)
    assert ready().entry.name == "net"


def test_commercial_use_refuses_whatever_was_accepted(ready):
    error = refused(ready, commercial=True, accepted_licences=("closed",))
    assert "commercial" in error.message


def test_what_a_model_needs_counts_too(ready):
    error = refused(ready, licence="open", more='needs = ["part"]', commercial=True)
    assert error.fields["model"] == "part"
    refused(ready, licence="open", more='needs = ["part"]')
    assert ready(licence="open", more='needs = ["part"]', accepted_licences=("closed",)).entry.name == "net"


def test_allowed_is_the_same_question(tmp_path):
    known = load_catalogue()
    settings = settings_for(tmp_path, commercial=True)
    assert allowed(known.find("bisenet_resnet_34"), settings, known)
    assert not allowed(known.find("ghost_3_256"), settings, known), "its recogniser is not free"
    assert not allowed(known.find("inswapper_128"), settings, known)


def test_an_installed_variant_stands_in(tmp_path, monkeypatch):
    monkeypatch.setattr(model_cache, "catalogue", lambda settings: load_catalogue(tmp_path / "models.toml"))
    (tmp_path / "models.toml").write_text(HEAD + model("net") + model("twin", OTHER, more='variant_of = "net"'))
    settings = settings_for(tmp_path)
    with pytest.raises(FaceflowError, match=r"model\.missing"):
        ready_model("net", settings)
    folder = settings.models_folder / "twin"
    folder.mkdir(parents=True)
    (folder / "twin.onnx").write_bytes(OTHER)
    assert ready_model("net", settings).entry.name == "twin"
    os.utime(folder / "twin.onnx")
    assert ready_model("net", settings).sha256 == sha256(OTHER)
