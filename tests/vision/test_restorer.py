"""The detail restorer brings sharpness and grain towards those of the surroundings."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faceflow.settings import SwapSettings
from faceflow.vision.detail_restorer import DetailRestorer, measure
from faceflow.vision.registry import make_restorer
from faceflow.vision.shapes import SwappedCrop


def mask_of(side=192):
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (side // 2, side // 2), side // 4, 255, -1)
    return cv2.GaussianBlur(mask, (0, 0), 2)


def crop(astronaut, inside_sigma: float, outside_sigma: float, inside_grain=0.0, outside_grain=0.0):
    picture = astronaut[40:232, 120:312].astype(np.float32)
    noise = np.random.default_rng(5)

    def made(sigma, grain):
        soft = cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture
        return soft + noise.normal(0, grain, picture.shape[:2])[..., None]

    mask = mask_of()
    mixed = np.where(mask[..., None] > 0, made(inside_sigma, inside_grain), made(outside_sigma, outside_grain))
    return SwappedCrop(np.rint(mixed).clip(0, 255).astype(np.uint8), mask)


def texture(swapped):
    luma = cv2.cvtColor(swapped.pixels, cv2.COLOR_BGR2GRAY)
    return measure(luma, swapped.mask > 200)


def test_a_sharp_face_in_a_soft_frame_is_softened(astronaut):
    sharp = crop(astronaut, 0, 1.6)
    assert texture(DetailRestorer().restore([sharp], 1.0)[0]).sharpness < 0.8 * texture(sharp).sharpness


def test_a_soft_face_in_a_sharp_frame_is_sharpened(astronaut):
    soft = crop(astronaut, 1.0, 0)
    assert texture(DetailRestorer().restore([soft], 1.0)[0]).sharpness > 1.1 * texture(soft).sharpness


def test_grain_of_the_surroundings_is_added(astronaut):
    clean = crop(astronaut, 0.8, 0.8, outside_grain=6.0)
    after = texture(DetailRestorer().restore([clean], 1.0)[0])
    assert after.grain > 1.5 * texture(clean).grain


def test_blend_runs_from_nothing_to_all_and_the_outside_stays(astronaut):
    sharp = crop(astronaut, 0, 1.6)
    none, half, whole = (DetailRestorer().restore([sharp], blend)[0] for blend in (0.0, 0.5, 1.0))
    assert np.array_equal(none.pixels, sharp.pixels)
    assert texture(whole).sharpness < texture(half).sharpness < texture(sharp).sharpness
    outside = sharp.mask == 0
    assert np.array_equal(whole.pixels[outside], sharp.pixels[outside])
    assert np.array_equal(whole.mask, sharp.mask)


def test_it_is_deterministic(astronaut):
    noisy = crop(astronaut, 0.8, 0.8, outside_grain=6.0)
    one, other = (DetailRestorer().restore([noisy], 1.0)[0].pixels for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("fill", [0, 255])
def test_a_crop_without_surroundings_or_without_mask_passes(fill):
    flat = SwappedCrop(np.full((128, 128, 3), 90, np.uint8), np.full((128, 128), fill, np.uint8))
    assert np.array_equal(DetailRestorer().restore([flat], 1.0)[0].pixels, flat.pixels)


def test_none_changes_nothing(astronaut):
    sharp = crop(astronaut, 0, 1.6)
    assert make_restorer("none", SwapSettings()).restore([sharp], 1.0)[0] is sharp
