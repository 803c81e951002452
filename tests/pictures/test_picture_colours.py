"""Hue and saturation of pictures in every coding, from the file to what is analysed and to what is written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflow.errors import PictureError
from faceflow.media.picture import read_picture, write_picture
from faceflow.settings import LimitSettings
from tests.media import bars

LIMITS = LimitSettings()
RGB = bars.picture(320, 128)
IMAGE = Image.fromarray(RGB)
_SAMPLING = cv2.IMWRITE_JPEG_SAMPLING_FACTOR


def _by_opencv(path, factor):
    cv2.imwrite(str(path), RGB[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95, _SAMPLING, factor])


COLOURED = {
    "palette.png": lambda path: IMAGE.quantize(64).save(path),
    "transparent_palette.png": lambda path: IMAGE.quantize(64).save(path, transparency=60),
    "sixteen.png": lambda path: cv2.imwrite(str(path), RGB[:, :, ::-1].astype(np.uint16) * 257),
    "lossy.webp": lambda path: IMAGE.save(path, quality=95),
    "lossless.webp": lambda path: IMAGE.save(path, lossless=True),
    "444.jpg": lambda path: IMAGE.save(path, quality=95, subsampling=0),
    "420.jpg": lambda path: IMAGE.save(path, quality=95, subsampling=2),
    "440.jpg": lambda path: _by_opencv(path, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "411.jpg": lambda path: _by_opencv(path, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "rgb_transform.jpg": lambda path: IMAGE.save(path, quality=95, keep_rgb=True),
}
GRAY = {
    "gray.png": lambda path: IMAGE.convert("L").save(path),
    "gray_alpha.png": lambda path: IMAGE.convert("LA").save(path),
    "gray_sixteen.png": lambda path: cv2.imwrite(str(path), np.asarray(IMAGE.convert("L")).astype(np.uint16) * 257),
    "bits.png": lambda path: IMAGE.convert("1").save(path),
    "gray.jpg": lambda path: IMAGE.convert("L").save(path, quality=95),
    "gray.webp": lambda path: IMAGE.convert("L").save(path, quality=95),
}


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("name", [*COLOURED, *GRAY])
def test_colours_survive_reading_and_writing(tmp_path, name, ending):
    path, written = tmp_path / name, tmp_path / f"out{ending}"
    (COLOURED | GRAY)[name](path)
    picture = read_picture(path, LIMITS)
    wanted = RGB if name in COLOURED else np.repeat(np.asarray(IMAGE.convert("L"))[:, :, None], 3, axis=2)
    assert bars.same_colours(bars.middles(picture.bgr()[:, :, ::-1]), bars.middles(wanted), 3) is None
    write_picture(picture, picture.frame(), written)
    shown = read_picture(written, LIMITS).bgr()[:, :, ::-1]
    assert bars.same_colours(bars.middles(shown), bars.middles(wanted), 4) is None


def test_printing_inks_are_refused(tmp_path):
    IMAGE.convert("CMYK").save(tmp_path / "inks.jpg")
    with pytest.raises(PictureError) as refused:
        read_picture(tmp_path / "inks.jpg", LIMITS)
    assert refused.value.code == "picture.cmyk"
