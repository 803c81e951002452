"""The readers of our own: a damaged file gives an error with a code, or counts as not there, and never costs memory."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import EngineError, MediaError
from faceflow.media.picture_boxes import nature_of
from faceflow.media.probe import probe
from faceflow.media.sniff import sniff
from faceflow.settings import LimitSettings
from faceflow.vision.onnx_header import fault_of
from faceflow.vision.runtime.batching import batched_graph
from faceflow.vision.runtime.graph_file import OnnxFile
from tests.engines.graphs import styled
from tests.fuzz.struck import bounded, struck

_HEADS = (
    b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x00\x00\x00\x00", b"\x00\x00\x00\x01", b"\x00\x00\x00\x08moov",
    b"\x00\x00\x00\x10ftypisom", b"ftyp", b"moov", b"trak", b"stsd", b"mdia", b"hdlr", b"meta", b"pict",
    b"\xff" * 8, b"\x01" + b"\xff" * 7, b"\x7f" * 8, b"G" + bytes(187), b"<?xml", b"v=0", b"RIFF", b"AVI ",
)  # fmt: skip
_FILES = st.lists(st.one_of(st.sampled_from(_HEADS), st.binary(max_size=12)), max_size=40).map(b"".join)
_BOUND_BYTES = 32 * 2**20


@given(_FILES)
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_sniffed(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "sniffed"
    path.write_bytes(content)
    sniffed = sniff(path)
    assert sniffed.missing_bytes >= 0 and not (sniffed.playlist and sniffed.container)
    assert nature_of(io.BytesIO(content), len(content)) in {None, "still", "sequence", "video"}


@pytest.mark.parametrize("head", [b"", b"GGGG", b"\x1a\x45\xdf\xa3G"])
@pytest.mark.parametrize("size", range(187, 199))
def test_a_packet_that_is_cut_off_is_sniffed(tmp_path, head, size):
    path = tmp_path / "cut.ts"
    path.write_bytes(head.ljust(5, b"G").ljust(size, b"\0"))
    assert not sniff(path).playlist


def _nested(name: bytes, deep: int) -> bytes:
    return b"".join((8 * (deep - level)).to_bytes(4) + name for level in range(deep))


@pytest.mark.parametrize("name", [b"moov", b"trak", b"mdia"])
def test_boxes_may_be_nested_without_end(tmp_path, name):
    path = tmp_path / "nested.mp4"
    path.write_bytes(b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + b"\x00\x00\x00\x00moov" + _nested(name, 30_000))
    assert sniff(path).container == "mp4"
    with pytest.raises(MediaError, match=r"media\.(corrupt|no_video)"):
        probe(path, LimitSettings())


def test_an_encrypted_entry_is_found_wherever_it_lies(tmp_path):
    entry = b"\x00\x00\x00\x08encv"
    description = (16 + len(entry)).to_bytes(4) + b"stsd" + bytes(8) + entry
    for parents in ((), (b"stbl",), (b"trak", b"mdia", b"minf", b"stbl")):
        boxes = description
        for name in parents:
            boxes = (len(boxes) + 8).to_bytes(4) + name + boxes
        path = tmp_path / "encrypted.mp4"
        path.write_bytes(b"\x00\x00\x00\x08free" + (len(boxes) + 16).to_bytes(4) + b"moov\x00\x00\x00\x08udta" + boxes)
        assert sniff(path).encrypted


@pytest.mark.parametrize("size", [b"\x01" + b"\xff" * 6, b"\x08\x01", b"\x01"])
def test_a_segment_whose_size_is_cut_off_is_no_failure_of_the_disk(tmp_path, size):
    path = tmp_path / "cut.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67" + size)
    assert sniff(path).missing_bytes == 0
    with pytest.raises(MediaError, match=r"media\.(corrupt|truncated)"):
        probe(path, LimitSettings())


@pytest.mark.parametrize("size", [b"\x01\xff" + bytes(6), b"\x01\x80" + b"\xff" * 6, b"\x01\x55" + b"\x55" * 6])
def test_a_segment_that_is_longer_than_any_disk_is_cut_off(tmp_path, size):
    path = tmp_path / "huge.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67" + size)
    assert sniff(path).missing_bytes > 2**50
    with pytest.raises(MediaError, match=r"media\.truncated"):
        probe(path, LimitSettings())


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return styled(tmp_path_factory.mktemp("network") / "whole.onnx", held_shape=True).read_bytes()


def _looked_at(path: Path) -> str:
    """All that is asked of a model file before ONNX Runtime sees it; the code with which it ended."""
    try:
        file = OnnxFile(path)
        for node in file.nodes():
            file.held(node)
        for name in file._initializers:
            file.constant(name)
        file.last_initializer()
        file.graph(external=True)
        batched_graph(file, external=True)
    except EngineError as error:
        return error.code
    return "whole"


def test_a_damaged_network_is_an_error_of_the_engine(tmp_path, network):
    path = tmp_path / "damaged.onnx"
    ends = set()
    for content in [network, *struck(network, "1", 250)]:
        path.write_bytes(content)
        with bounded(_BOUND_BYTES):
            ends.add(_looked_at(path))
            fault_of(path)
    assert {"whole", "engine.model_unusable"} <= ends <= {"whole", "engine.model_unusable", "engine.model_missing"}


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_looked_at_as_a_network(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    assert _looked_at(path).startswith("engine.model_")
    assert fault_of(path) is None or fault_of(path)


@pytest.mark.parametrize("length", [b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\xff" * 8 + b"\x7f"])
def test_a_length_that_no_file_has_ends_too_early(tmp_path, length):
    path = tmp_path / "long.onnx"
    path.write_bytes(b"\x08\x08\x3a" + length + bytes(9))
    assert fault_of(path) == "it ends too early"
    assert _looked_at(path) == "engine.model_unusable"
