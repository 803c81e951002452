"""The mesh swapper really moves identity, keeps what it must, and always gives the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.quality import swapped_picture
from faceflow.errors import EngineError
from faceflow.vision.mesh_atlas import build_atlas, coverage
from faceflow.vision.mesh_swapper import MeshSwapper
from faceflow.vision.mesh_topology import facing, frontal, mirror, triangles


@pytest.fixture(scope="module")
def faces(analyser, astronaut, six_people):
    people = sorted(analyser.analyse(six_people), key=lambda face: float(face.box[0]))
    return [(astronaut, analyser.analyse(astronaut)[0]), *((six_people, face) for face in people)]


def distances(recogniser, source, target, picture):
    own, wanted = recogniser.embedding(*target), recogniser.embedding(*source)
    after = recogniser.embedding(picture, target[1])
    return [float(np.linalg.norm(a - b)) for a, b in ((wanted, own), (wanted, after), (own, after))]


def test_identity_moves_from_the_target_to_the_source(faces, recogniser):
    rows = []
    for source, target in ((0, 1), (0, 6), (1, 0), (3, 0), (4, 6), (6, 1), (3, 4), (6, 0)):
        swapped = swapped_picture(faces[target], [faces[source]])
        rows.append(distances(recogniser, faces[source], faces[target], swapped))
    before, to_source, to_target = np.array(rows).T
    assert (to_source < before - 0.05).all()
    assert to_source.mean() < before.mean() - 0.2
    assert to_target.min() > 0.4
    assert (to_source < to_target).sum() >= 6


def test_identity_moves_in_a_clip(faces, recogniser, analyser, carphone):
    for frame in carphone[1:4]:
        target = (frame, analyser.analyse(frame)[0])
        before, to_source, _ = distances(recogniser, faces[0], target, swapped_picture(target, [faces[0]]))
        assert to_source < before - 0.2


def test_swapping_a_face_with_itself_changes_little(faces):
    for face in faces[:2]:
        left, top, right, bottom = face[1].box.astype(int)
        change = np.abs(swapped_picture(face, [face]).astype(int) - face[0])[top:bottom, left:right]
        assert change.mean() < 6


def test_eyes_and_the_mouths_opening_stay(faces):
    target = faces[0]
    swapped = swapped_picture(target, [faces[3]])
    for middle in (*target[1].points[:2], target[1].landmarks[[13, 14], :2].mean(0)):
        x, y = np.rint(middle).astype(int)
        # They may sit a little elsewhere, where the source has them.
        around, own = swapped[y - 6 : y + 7, x - 6 : x + 7], target[0][y - 2 : y + 3, x - 2 : x + 3]
        found, _, (column, row), _ = cv2.minMaxLoc(cv2.matchTemplate(around, own, cv2.TM_SQDIFF))
        assert found / own.size < 30**2
        assert max(abs(column - 4), abs(row - 4)) < 4
    x, y = np.rint(target[1].landmarks[50, :2]).astype(int)
    assert np.abs(swapped.astype(int) - target[0])[y - 4 : y + 5, x - 4 : x + 5].max() > 12


def test_it_is_deterministic(faces):
    assert np.array_equal(swapped_picture(faces[1], [faces[0]]), swapped_picture(faces[1], [faces[0]]))


def test_portraits_are_fused(faces, recogniser):
    picture, face = faces[0]
    half = picture.copy()
    half[:, round(float(face.points[1][0])) :] = (200, 90, 30)  # one side behind something blue
    covered = build_atlas([(half, face.landmarks)])
    fused = build_atlas([(half, face.landmarks), (picture, face.landmarks)])
    whole = build_atlas([(picture, face.landmarks)])
    shown = coverage() > 0.5
    hidden, both = (np.abs(atlas.astype(int) - whole)[shown].mean() for atlas in (covered, fused))
    assert hidden < 20  # the mirror image stands in
    assert both < 0.9 * hidden


def test_masks_end_before_the_border_and_pixels_outside_are_the_targets(faces):
    swapper = MeshSwapper()
    identity = swapper.prepare("a", [faces[0]])
    from faceflow.vision.shapes import TargetCrop

    picture, face = faces[4]
    for side in (128, 256, 512):
        matrix = swapper.alignment(face, side)
        pixels = cv2.warpAffine(picture, matrix, (side, side))
        scale = np.sqrt(np.linalg.det(matrix[:, :2]))
        landmarks = np.column_stack(
            [face.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2], face.landmarks[:, 2] * scale]
        )
        crop = TargetCrop(pixels, matrix, face.points, landmarks.astype(np.float32))
        swapped = swapper.swap([crop], identity)[0]
        assert swapped.mask.shape == (side, side)
        assert swapped.mask.max() > 250
        assert not swapped.mask[0].any()
        assert not swapped.mask[:, -1].any()
        assert np.array_equal(swapped.pixels[swapped.mask == 0], pixels[swapped.mask == 0])
        assert 0 <= landmarks[:, :2].min() <= landmarks[:, :2].max() < side
    with pytest.raises(EngineError, match="landmarks_missing"):
        swapper.swap([TargetCrop(pixels, matrix, face.points)], identity)


def test_crop_sides(faces):
    swapper = MeshSwapper()
    for _, face in faces:
        assert swapper.crop_side_px(face) in range(128, 769, 32)


def test_the_mesh_is_whole():
    assert frontal().shape == (468, 3)
    assert np.array_equal(mirror()[mirror()], np.arange(468))
    assert np.abs(frontal()[mirror()] * (-1, 1, 1) - frontal()).max() < 1e-4
    assert 840 <= len(triangles()) <= 900
    used = set(triangles().reshape(-1).tolist())
    assert len(used) == 468
    assert (facing(frontal()) > -0.2).all()
    assert facing(frontal())[4] > 0.5
