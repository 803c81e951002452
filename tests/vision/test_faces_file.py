"""The faces file: what is written is read, and damage is always seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from faceflow.errors import FaultError
from faceflow.media.paste import paste
from faceflow.stages.artifacts import artifact_is_whole, make_faces_file
from faceflow.vision.faces_file import FaceFrame, FacesReader, FacesWriter, trimmed
from faceflow.vision.shapes import SwappedCrop
from tests.vision.conftest import native


def face(frame: int, person: int = 0, rows: int = 8, columns: int = 8, seed: int = 0) -> FaceFrame:
    noise = np.random.default_rng([seed, frame, rows])
    crop = SwappedCrop(
        noise.integers(0, 256, (rows, columns, 3), np.uint8), noise.integers(0, 256, (rows, columns), np.uint8)
    )
    return FaceFrame(
        frame, person, noise.normal(size=(2, 3)).astype(np.float32), crop, noise.normal(size=(5, 2)).astype(np.float32)
    )


def write(path, faces):
    with FacesWriter(path, {"engine": "mesh", "engine_version": "1"}) as writer:
        for one in faces:
            writer.write(one)
    return path


def read(path):
    with FacesReader(path) as reader:
        return list(reader)


def same(one: FaceFrame, other: FaceFrame) -> bool:
    return (one.frame, one.person) == (other.frame, other.person) and all(
        np.array_equal(a, b)
        for a, b in (
            (one.matrix, other.matrix),
            (one.crop.pixels, other.crop.pixels),
            (one.crop.mask, other.crop.mask),
        )
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), st.integers(-1, 2**31 - 1), st.integers(1, 24), st.integers(1, 24)),
        max_size=8,
    ),
    st.integers(0, 2**32 - 1),
)
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_faces_survive_and_any_cut_or_changed_byte_is_seen(tmp_path, rows, seed):
    faces = [face(frame, person, high, wide, seed) for frame, person, high, wide in sorted(rows)]
    path = write(tmp_path / "any.faces", faces)
    found = read(path)
    assert len(found) == len(faces)
    assert all(same(one, other) for one, other in zip(faces, found, strict=True))
    data = path.read_bytes()
    where = np.random.default_rng(seed)
    for cut in {0, 1, len(data) - 1, int(where.integers(0, len(data)))}:
        path.write_bytes(data[:cut])
        with pytest.raises(FaultError, match="faces_file"):
            read(path)
    for place in where.integers(0, len(data), 6):
        broken = bytearray(data)
        broken[place] ^= 1 << int(where.integers(0, 8))
        path.write_bytes(broken)
        with pytest.raises(FaultError, match="faces_file"):
            read(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(FaultError, match="faces_file_corrupt"):
        read(path)


def test_faces_are_grouped_by_frame_and_the_header_says_who_made_them(tmp_path):
    path = write(tmp_path / "a.faces", [face(3), face(3, 1), face(9)])
    with FacesReader(path) as reader:
        assert reader.description == {"engine": "mesh", "engine_version": "1"}
        assert [(frame, len(found)) for frame, found in reader.by_frame()] == [(3, 2), (9, 1)]


def test_a_failed_writer_publishes_nothing(tmp_path):
    path = tmp_path / "a.faces"
    with pytest.raises(RuntimeError), FacesWriter(path, {}) as writer:
        writer.write(face(1))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FaultError, match="faces_file_missing"):
        FacesReader(path)


def test_the_checksum_of_the_writer_is_the_readers_and_another_one_for_other_faces(tmp_path):
    checksums = []
    for number in (1, 2):
        with FacesWriter(tmp_path / "a.faces", {}) as writer:
            writer.write(face(number))
        with FacesReader(tmp_path / "a.faces") as reader:
            assert len(list(reader)) == 1
        assert reader.checksum == writer.checksum
        checksums.append(writer.checksum)
    with FacesWriter(tmp_path / "a.faces", {"engine": "other"}) as writer:
        writer.write(face(2))
    assert len({*checksums, writer.checksum}) == 3


def test_a_damaged_faces_file_is_not_whole(tmp_path):
    with FacesWriter(tmp_path / "a.faces", {}) as writer:
        writer.write(face(1))
    made = make_faces_file(tmp_path / "a.faces", writer.checksum)
    assert artifact_is_whole(made)
    assert not artifact_is_whole(made.model_copy(update={"checksum": "00000000"}))
    data = made.path.read_bytes()
    for changed in (
        data[:-1],
        data[:200] + bytes([data[200] ^ 1]) + data[201:],
        write(made.path, [face(2)]).read_bytes(),
    ):
        made.path.write_bytes(changed)
        assert not artifact_is_whole(made)
    made.path.unlink()
    assert not artifact_is_whole(made)


@pytest.mark.parametrize("matrix", [[[0.9, 0.2, -3], [-0.2, 0.9, 12]], [[1, 0, -3], [0, 1, 12]]])
def test_a_trimmed_face_is_pasted_like_the_whole_one(matrix):
    picture = np.random.default_rng(2).integers(0, 256, (90, 120, 3), np.uint8)
    matrix = np.array(matrix, np.float32)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:41, 9:30] = np.arange(9, 30) * 8
    whole = FaceFrame(0, 0, matrix, SwappedCrop(np.full((64, 64, 3), 90, np.uint8), mask), np.zeros((5, 2), np.float32))
    small = trimmed(whole)
    assert small.crop.mask.shape == (27, 27)
    frames = [native(picture, "yuv420p") for _ in range(2)]
    for frame, one in zip(frames, (whole, small), strict=True):
        paste(frame, one.matrix, one.crop.pixels, one.crop.mask)
    for plane, other in zip(frames[0].planes, frames[1].planes, strict=True):
        assert np.abs(plane.astype(int) - other).max() <= 1
        assert (plane != other).mean() < 0.002
    empty = FaceFrame(0, 0, matrix, SwappedCrop(whole.crop.pixels, np.zeros_like(mask)), np.zeros((5, 2), np.float32))
    assert trimmed(empty) is empty


def test_frames_must_not_run_backwards(tmp_path):
    with pytest.raises(FaultError, match="faces_file_order"):
        write(tmp_path / "a.faces", [face(5), face(4)])
