"""Colours of a picture for analysis: from its own profile to sRGB, which detectors were trained on."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_srgb(samples: NDArray[np.uint8], icc: bytes | None) -> NDArray[np.uint8]:
    """Converts samples to sRGB by their profile.

    Args:
        samples: uint8 (H, W, C), C = 1 gray or 3 in the order B, G, R.
        icc: the profile of the samples; without one, or with one that cannot be read, they count as sRGB.

    Returns:
        uint8 (H, W, 3), B, G, R, writable.
    """
    gray = samples.shape[2] == 1
    rgb = np.ascontiguousarray(samples[:, :, 0] if gray else samples[:, :, ::-1])
    if icc is not None:
        converted = _by_profile(Image.fromarray(rgb), icc)
        if converted is not None:
            return np.ascontiguousarray(np.asarray(converted)[:, :, ::-1])
    return np.repeat(samples, 3, axis=2) if gray else samples.copy()


def _by_profile(image: Image.Image, icc: bytes) -> Image.Image | None:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(
            image, profile, _SRGB, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
