"""What stages leave for one another, damaged: told with a code or counted as not there, never believed, never dear.

Mutations of whole files, and of arrays inside an archive whose checksums fit again, as nobody but a test makes them.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from fractions import Fraction

import numpy as np
import pytest

from faceflow.errors import FaultError
from faceflow.media.facts import FrameIndex
from faceflow.stages.artifacts import artifact_is_whole, make_artifact, make_faces_file
from faceflow.vision.faces_file import FaceFrame, FacesReader, FacesWriter
from faceflow.vision.occlusion import Reference
from faceflow.vision.references import References
from faceflow.vision.shapes import SwappedCrop
from faceflow.vision.tracks import TrackTable
from tests.fuzz.struck import bounded, struck

_BOUND_BYTES = 96 * 2**20  # 64 MiB is what any such file may unpack to


def _index(path):
    pts = np.cumsum(np.array([512, 1024, 512, 512, 512])).astype(np.int64)
    durations, key = np.diff(pts, append=pts[-1] + 512), np.eye(5, dtype=np.bool_)[0]
    FrameIndex(pts, durations, key, Fraction(1, 12800), {"discarded": 2}).save(path)
    return FrameIndex.load


def _tracks(path):
    TrackTable(
        shots=np.array([0, 40], np.int64),
        person=np.array([0, 1, 0], np.int32),
        size_s=np.array([1, 2, 3], np.float32),
        track=np.array([0, 0, 1, 2], np.int32),
        frame=np.array([0, 12, 12, 40], np.int64),
        box=np.arange(16, dtype=np.float32).reshape(4, 4) / 16,
        reach=24,
    ).save(path)
    return TrackTable.load


def _references(path):
    noise = np.random.default_rng(1)
    made = [
        Reference(
            noise.uniform(0, 255, (64, 64, 3)).astype(np.float32),
            noise.uniform(1, 9, (64, 64, 3)).astype(np.float32),
            noise.normal(size=(modes, 64, 64)).astype(np.float32),
        )
        for modes in (0, 2)
    ]
    References({3: made[0], 5: made[1]}).save(path)
    return References.load


KEPT = {"index": _index, "tracks": _tracks, "references": _references}
_CODES = {"fault.artifact_damaged", "fault.artifact_missing"}


def _end(load, path) -> str:
    try:
        with bounded(_BOUND_BYTES):
            load(path)
    except FaultError as error:
        assert error.message and error.resolution
        return error.code
    return "read"


@pytest.mark.parametrize("kind", KEPT)
def test_a_damaged_file_of_arrays_is_told(tmp_path, kind):
    path = tmp_path / "kept.npz"
    load = KEPT[kind](path)
    artifact = make_artifact(path)
    whole = path.read_bytes()
    ends = [_end(load, path)]
    for content in struck(whole, kind, 60):
        path.write_bytes(content)
        ends.append(_end(load, path))
        assert artifact_is_whole(artifact) == (content == whole)
    assert ends[0] == "read" and set(ends[1:]) <= {"read", "fault.artifact_damaged"}
    assert ends.count("fault.artifact_damaged") > 30


@pytest.mark.parametrize("kind", KEPT)
def test_a_file_of_arrays_that_is_gone_is_told(tmp_path, kind):
    load = KEPT[kind](tmp_path / "kept.npz")
    assert _end(load, tmp_path / "other.npz") == "fault.artifact_missing"
    assert _end(load, tmp_path) == "fault.artifact_missing"
    (tmp_path / "kept.npz").write_bytes(b"")
    assert _end(load, tmp_path / "kept.npz") == "fault.artifact_damaged"


def _packed(path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _unpacked(path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", ["index", "tracks", pytest.param("references", marks=pytest.mark.full)])
def test_arrays_that_lie_are_told(tmp_path, kind):
    """Each array mutated, dropped, emptied, of another type, much longer by its header, for checksums that fit."""
    path = tmp_path / "kept.npz"
    load = KEPT[kind](path)
    members = _unpacked(path)
    for name, content in members.items():
        changed = struck(content[:4096] + content[-64:], f"{kind}/{name}", 4)
        for array in (np.zeros(0), np.zeros((2, 2, 2), np.int64), np.array(["a"]), np.float64(1), np.array([-5] * 7)):
            stream = io.BytesIO()
            np.save(stream, array)
            changed.append(stream.getvalue())
        for shape in (b"(9999999999999,)", b"(-1,)", b"(1,)" * 400, b"(" * 300, b"'a'", b"(3, 1e9)", b"None", b"{}"):
            header = b"{'descr': '<i8', 'fortran_order': False, 'shape': " + shape + b", }"
            header += b" " * (-(len(header) + 11) % 64) + b"\n"
            changed.append(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24))
        for other in changed:
            _packed(path, {**members, name: other})
            assert _end(load, path) in {"read", "fault.artifact_damaged"}
        _packed(path, {own: whole for own, whole in members.items() if own != name})
        assert _end(load, path) == "fault.artifact_damaged"
    _packed(path, members)
    assert _end(load, path) == "read"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_that_are_packed_in_another_way_are_told(tmp_path, method):
    path = tmp_path / "kept.npz"
    load = _tracks(path)
    _packed(path, _unpacked(path), method)
    assert _end(load, path) == "fault.artifact_damaged"


def test_a_small_file_does_not_unpack_to_a_huge_one(tmp_path):
    path = tmp_path / "kept.npz"
    load = _index(path)
    members = _unpacked(path)
    stream = io.BytesIO()
    np.save(stream, np.zeros(100 * 2**20, np.uint8))
    _packed(path, {**members, "pts.npy": stream.getvalue()}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    with bounded(_BOUND_BYTES):
        assert _end(load, path) == "fault.artifact_damaged"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("time_base", [0, 1]), ("time_base", [1, 0]), ("time_base", [-1, 25]), ("pts", [0, 1, 2, 2, 4]),
        ("pts", [0, 1]), ("durations", [1, 1, 0, 1, 1]), ("left_out_counts", []),
    ],
)  # fmt: skip
def test_an_index_whose_clock_cannot_be_is_told(tmp_path, name, values):
    path = tmp_path / "index.npz"
    load = _index(path)
    stream = io.BytesIO()
    np.save(stream, np.array(values, np.int64))
    _packed(path, {**_unpacked(path), f"{name}.npy": stream.getvalue()})
    assert _end(load, path) == "fault.artifact_damaged"


def _faces(path, description: dict[str, str] | None = None):
    noise = np.random.default_rng(3)
    with FacesWriter(path, description or {"engine": "mesh"}) as writer:
        for frame in range(3):
            crop = SwappedCrop(noise.integers(0, 255, (6, 7, 3), np.uint8), noise.integers(0, 255, (6, 7), np.uint8))
            writer.write(FaceFrame(frame, 0, np.eye(2, 3, dtype=np.float32), crop, np.zeros((5, 2), np.float32)))
    return make_faces_file(path, writer.checksum)


def _faces_end(path) -> str:
    try:
        with bounded(_BOUND_BYTES), FacesReader(path) as reader:
            assert all(np.isfinite(face.matrix).all() for face in reader)
    except FaultError as error:
        return error.code
    return "read"


def test_a_damaged_faces_file_is_told(tmp_path):
    path = tmp_path / "kept.faces"
    kept = _faces(path)
    whole = path.read_bytes()
    ends = [_faces_end(path)]
    for content in struck(whole, "faces", 300):
        path.write_bytes(content)
        ends.append(_faces_end(path))
        assert artifact_is_whole(kept) == (content == whole)
        assert ends[-1] == "read" if content == whole else ends[-1] != "read"
    assert set(ends) == {"read", "fault.faces_file_truncated", "fault.faces_file_corrupt"}


@pytest.mark.parametrize("text", [b"", b"[1]", b"7", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_description_that_is_none_is_told(tmp_path, text):
    path = tmp_path / "kept.faces"
    path.write_bytes(struct.pack("<8sII", b"FFFACES\x03", len(text), zlib.crc32(text)) + text)
    assert _faces_end(path) == "fault.faces_file_corrupt"


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_face_that_lies_nowhere_is_told(tmp_path, place, value):
    path = tmp_path / "kept.faces"
    matrix = np.eye(2, 3, dtype=np.float32)
    matrix.flat[place] = value
    with FacesWriter(path, {"engine": "mesh"}) as writer:
        crop = SwappedCrop(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))
        writer.write(FaceFrame(0, 0, matrix, crop, np.zeros((5, 2), np.float32)))
    assert _faces_end(path) == "fault.faces_file_corrupt"


def test_a_faces_file_that_is_a_folder_is_told(tmp_path):
    assert _faces_end(tmp_path) == "fault.faces_file_missing"
