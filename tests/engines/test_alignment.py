"""Faces are aligned as the networks were trained: compared with InsightFace's own code."""

from __future__ import annotations

import numpy as np
import pytest
from insightface.utils import face_align
from skimage.transform import SimilarityTransform

from faceflow.vision.model_catalogue import Template
from faceflow.vision.neural.alignment import TEMPLATES, after, aligned, inverse, moved, portrait_crop

pytestmark = pytest.mark.filterwarnings("ignore:.estimate. is deprecated:FutureWarning")

PUBLISHED = {  # as the networks' makers write them, in pixels of these sides
    Template.ARCFACE_112_V1: (112, [(39.73, 51.138), (72.27, 51.138), (56, 68.493), (42.463, 87.01), (69.537, 87.01)]),
    Template.ARCFACE_112_V2: (112, face_align.arcface_dst.tolist()),
    Template.ARCFACE_128: (128, (face_align.arcface_dst + np.array([8, 0])).tolist()),
    Template.FFHQ_512: (
        512, [(192.98138, 239.94708), (318.90277, 240.1936), (256.63416, 314.01935), (201.26117, 371.41043),
              (313.08905, 371.15118)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("template", PUBLISHED)
def test_templates_are_the_published_ones(template):
    side, points = PUBLISHED[template]
    assert np.abs(TEMPLATES[template] * side - points).max() < 0.001


def faces():
    """Five points of faces of all sizes, turned and squeezed."""
    generator = np.random.default_rng(4)
    frontal = TEMPLATES[Template.FFHQ_512] - 0.5
    for _ in range(40):
        angle, size = generator.uniform(-1.5, 1.5), generator.uniform(20, 900)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        squeezed = (frontal + generator.normal(0, 0.02, (5, 2))) * [generator.uniform(0.5, 1), 1]
        yield (squeezed @ turn.T * size + generator.uniform(0, 2000, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("template", "side"),
    [
        (Template.ARCFACE_112_V2, 112),
        (Template.ARCFACE_112_V2, 224),
        (Template.ARCFACE_128, 128),
        (Template.ARCFACE_128, 256),
    ],
)
def test_the_crop_lies_where_insightface_puts_it(template, side):
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side], [side / 2, side / 2]])
    for points in faces():
        ours, theirs = aligned(points, template, side), face_align.estimate_norm(points, side)
        seen = moved(corners, inverse(theirs))  # the crop's corners in the picture
        assert np.abs(moved(seen, ours) - corners).max() < 0.01


@pytest.mark.parametrize("template", Template)
def test_every_template_is_fitted_by_least_squares(template):
    for points in faces():
        fit = SimilarityTransform.from_estimate(points, TEMPLATES[template] * 512)
        assert np.abs(moved(points, aligned(points, template, 512)) - fit(points)).max() < 0.01


def test_a_crop_is_the_one_that_insightface_cuts():
    picture = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    points = (TEMPLATES[Template.FFHQ_512] * 160 + 70).astype(np.float32)
    ours = portrait_crop(picture, points, Template.ARCFACE_112_V2, 112)
    theirs = face_align.norm_crop(picture, points, 112)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_matrices_are_chained_and_turned_back():
    points = next(faces())
    matrix = aligned(points, Template.FFHQ_512, 512)
    assert np.allclose(after(matrix, inverse(matrix)), np.eye(2, 3), atol=1e-4)
