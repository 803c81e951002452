"""Models that come packed: fetched once for all, or singly from a mirror."""

from __future__ import annotations

from faceflow.vision.model_cache import ModelCache
from tests.models.conftest import CONTENT, OTHER, packed


def test_an_archive_is_fetched_once_for_all_its_models(bench, pack):
    report = bench.pull("both")
    assert (sorted(report.pulled), bench.path("one").read_bytes(), bench.path("two").read_bytes()) == (
        ["one", "two"],
        CONTENT,
        OTHER,
    )
    assert len(bench.server.gets("/pack.zip")) == 1
    assert not (bench.tmp_path / "cache" / ".archives" / "pack.zip").exists()
    assert sorted(bench.pull("both").present) == ["one", "two"]
    record = ModelCache(bench.tmp_path / "cache").record(bench.path("two"))
    assert record.source == f"{bench.server.url}/pack.zip#two.onnx"


def test_one_model_brings_the_rest_of_its_archive(bench, pack):
    assert bench.pull("one").pulled == ["one"]
    assert bench.pull("two").present == ["two"]
    assert len(bench.server.gets("/pack.zip")) == 1


def test_a_mirror_may_have_the_models_by_themselves(bench, pack, tmp_path):
    (tmp_path / "mirror" / "one").mkdir(parents=True)
    (tmp_path / "mirror" / "one" / "one.onnx").write_bytes(CONTENT)
    bench.pull("one", mirror=str(tmp_path / "mirror"))
    assert bench.server.seen == []
    bench.pull("both", mirror=str(tmp_path / "mirror"))
    assert len(bench.server.gets("/pack.zip")) == 1


def test_a_wrong_archive_brings_nothing(bench, pack):
    pack.content = packed({"one.onnx": CONTENT, "two.onnx": OTHER})
    error = bench.error("both")
    assert error.code == "model.unavailable"
    assert error.fields["failed"] == ["one", "two"]
    assert not bench.path("one").exists()


def test_a_member_that_is_missing_or_wrong(bench, pack):
    pack.content = packed({"one.onnx": CONTENT, "two.onnx": CONTENT})
    bench.text = bench.text.replace("size_bytes = ", "# ", 1).replace("\nsha256 = ", "\n# ", 1)
    error = bench.error("both")
    assert (error.code, bench.path("one").exists(), bench.path("two").exists()) == ("model.hash", True, False)
    pack.content = packed({"one.onnx": CONTENT})
    error = bench.error("both")
    assert (error.code, "does not contain it" in error.message) == ("model.unavailable", True)


def test_an_archive_that_is_none(bench, pack):
    pack.content = b"PK\x03\x04 not really"
    bench.text = bench.text.replace("size_bytes = ", "# ", 1).replace("\nsha256 = ", "\n# ", 1)
    error = bench.error("one")
    assert (error.code, "cannot be unpacked" in error.message) == ("model.unavailable", True)
