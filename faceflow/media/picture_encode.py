"""Writes pixels as JPEG, PNG, WebP or AVIF with profile, EXIF and alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceflow.media.native import Plane
from faceflow.media.picture_cicp import Cicp
from faceflow.media.picture_decode import JpegCoding
from faceflow.media.picture_header import PictureKind
from faceflow.media.picture_png import profile_chunk, write_png

CARRIES_ALPHA: frozenset[PictureKind] = frozenset({"png", "webp", "avif"})
"""Formats that hold transparent pixels."""

LARGEST_SIDE_PX: dict[PictureKind, int] = {"jpeg": 65535, "png": 2**31 - 1, "webp": 16383, "avif": 65535}
"""Most pixels a side that each format can state."""

_QUALITY = 95
_AVIF_QUALITY = 90
_LARGEST_APP1_BYTES = 65533 - 6


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """What to write.

    Attributes:
        planes: uint8 or uint16 (H, W) each: B, G, R or one gray plane.
        alpha: (H, W) of the same type, or None.
        icc: colour profile, or None.
        exif: TIFF block, or None.
        jpeg: compression of the source where it was a JPEG.
        carried: PNG chunks of the source.
        cicp: colours that the source states by numbers, or None.
        keep_samples: the source kept samples exactly, so WebP does too.
        quality: 1 to 100, or None for the source's own or the default.
    """

    planes: list[Plane]
    alpha: Plane | None
    icc: bytes | None
    exif: bytes | None
    jpeg: JpegCoding | None
    carried: tuple[tuple[bytes, bytes], ...]
    cicp: Cicp | None
    keep_samples: bool
    quality: int | None


def encode_picture(request: EncodeRequest, kind: PictureKind, file: BinaryIO) -> None:
    """Writes the picture to `file`. All but PNG have 8 bits: 16-bit samples are rounded. JPEG has no alpha."""
    if kind == "png":
        write_png(file, _stacked(request.planes, request.alpha), _png_extras(request))
    elif kind == "jpeg":
        image = Image.fromarray(_image_array(_stacked([_8_bit(plane) for plane in request.planes], None)))
        image.save(file, "JPEG", **_jpeg_options(request))
    else:
        alpha = None if request.alpha is None else _8_bit(request.alpha)
        pixels = _stacked([_8_bit(plane) for plane in request.planes], alpha)
        image = Image.fromarray(_image_array(pixels))
        if kind == "webp":
            image.convert("RGB" if alpha is None else "RGBA").save(file, "WEBP", **_webp_options(request))
        else:
            _write_avif(image, request, file)


def _stacked(planes: list[Plane], alpha: Plane | None) -> NDArray[Any]:
    """(H, W, C) in the order of files: gray or R, G, B, then alpha."""
    return np.dstack([*planes[::-1], *([] if alpha is None else [alpha])])


def _image_array(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _8_bit(plane: Plane) -> NDArray[np.uint8]:
    if plane.dtype == np.uint8:
        return np.asarray(plane, np.uint8)
    return ((plane.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _png_extras(request: EncodeRequest) -> list[tuple[bytes, bytes]]:
    extras = list(request.carried)
    if request.cicp is not None and request.cicp.is_hdr and all(name != b"cICP" for name, _ in extras):
        extras.append((b"cICP", request.cicp.of_rgb()))
    if request.icc is not None and all(name != b"iCCP" for name, _ in extras):
        extras.append(profile_chunk(request.icc))
    if request.exif is not None:
        extras.append((b"eXIf", request.exif))
    return extras


def _jpeg_options(request: EncodeRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"icc_profile": request.icc}
    if request.exif is not None and len(request.exif) <= _LARGEST_APP1_BYTES:
        options["exif"] = b"Exif\0\0" + request.exif
    if request.jpeg is not None:
        options |= {"subsampling": request.jpeg.subsampling, "progressive": request.jpeg.progressive}
    else:
        options["subsampling"] = 0
    if request.jpeg is not None and request.quality is None:
        options["qtables"] = [list(table) for table in request.jpeg.tables]
    else:
        options["quality"] = request.quality or _QUALITY
    return options


def _write_avif(image: Image.Image, request: EncodeRequest, file: BinaryIO) -> None:
    options: dict[str, Any] = {"icc_profile": request.icc, "exif": request.exif}
    # The number of threads could change the bytes; the number of tiles follows from the size of the picture.
    options |= {"max_threads": 1, "speed": 6, "quality": request.quality or _AVIF_QUALITY}
    mode = "RGBA" if image.mode in ("LA", "RGBA") else image.mode
    image.convert(mode).save(file, "AVIF", subsampling="4:0:0" if mode == "L" else "4:4:4", **options)


def _webp_options(request: EncodeRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"icc_profile": request.icc, "method": 4}
    if request.exif is not None:
        options["exif"] = b"Exif\0\0" + request.exif
    if request.keep_samples:
        return options | {"lossless": True, "exact": True, "quality": 50}
    return options | {"quality": request.quality or _QUALITY}
