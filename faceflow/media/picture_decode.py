"""Pixels of a picture whose header has passed: Pillow decodes 8-bit files, OpenCV 16-bit PNG, which Pillow cannot, and
FFmpeg the items of HEIF and AVIF (`picture_items`).

Samples come out as stored (no colour conversion), in the order B, G, R, with alpha beside them.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av.error
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from faceflow.errors import PictureError
from faceflow.media.native import Plane
from faceflow.media.picture_cicp import Cicp, known
from faceflow.media.picture_header import PictureHeader, corrupt, unsupported
from faceflow.media.picture_items import HeifPicture, UndecodableError, UnknownColoursError, decode_items
from faceflow.media.picture_png import without_extras

# Sizes were checked by our own limits, and a damaged EXIF block is left out: nothing to tell the user about.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


@dataclass(frozen=True, slots=True)
class JpegCoding:
    """How a JPEG file was compressed, so that it can be written the same way.

    Attributes:
        tables: quantisation tables, 64 numbers each, in the order that Pillow gives and takes.
        subsampling: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0, as Pillow counts.
        progressive: several scans of growing quality.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int
    progressive: bool


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels in stored orientation.

    Attributes:
        samples: uint8 or uint16 (H, W, C), C = 1 gray or 3 in the order B, G, R.
        alpha: (H, W) of the same type, or None where every pixel is opaque by format.
        jpeg: how the file was compressed; None for other formats and for JPEG in RGB.
        cicp: colours that the file or its bit stream states by numbers, or None.
    """

    samples: Plane
    alpha: Plane | None
    jpeg: JpegCoding | None = None
    cicp: Cicp | None = None


def decode_picture(data: bytes, header: PictureHeader, path: Path) -> Decoded:
    """Decodes the file `data`, whose header was read and is within the limits.

    Raises:
        PictureError: `picture.corrupt`; `picture.format_unsupported` for colours that have no meaning here;
            `picture.too_large` where Pillow's own guard says so.
    """
    try:
        decoded = _decode(data, header, path)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(
            "picture.too_large",
            f"{str(path)!r} has {header.width_px}x{header.height_px} pixels, more than can be decoded.",
            "Scale the picture down.",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, cv2.error) as error:
        raise corrupt(path, "its pixels cannot be decoded") from error
    if decoded.samples.shape[:2] != (header.height_px, header.width_px):
        raise corrupt(path, "its size differs from the size in its header")
    return decoded


def _decode(data: bytes, header: PictureHeader, path: Path) -> Decoded:
    if header.heif is not None:
        return _decode_heif(data, header.heif, path)
    decoded = _decode_16_bit(data, header, path) if header.bit_depth == 16 else _decode_8_bit(data, header)
    return replace(decoded, cicp=header.cicp)


def _decode_heif(data: bytes, picture: HeifPicture, path: Path) -> Decoded:
    try:
        samples, alpha, cicp = decode_items(data, picture)
    except UndecodableError as error:
        raise corrupt(path, str(error)) from error
    except UnknownColoursError as error:
        raise unsupported(path, f"HEIF or AVIF (with {error})") from error
    except av.error.FFmpegError as error:
        raise corrupt(path, "its pixels cannot be decoded") from error
    if picture.icc is None and not known(cicp):
        raise unsupported(path, f"HEIF or AVIF (with the colours {cicp.primaries}/{cicp.transfer})")
    return Decoded(samples, alpha, None, cicp)


def _decode_8_bit(data: bytes, header: PictureHeader) -> Decoded:
    with Image.open(io.BytesIO(data), formats=[header.kind.upper()]) as image:
        jpeg = _jpeg_coding(image) if header.kind == "jpeg" else None
        image.load()
        gray = image.mode in ("1", "L", "LA", "I;16")
        alpha = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        mode = ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
        # Pillow turns a transparent gray value into alpha for RGBA only.
        whole = image.convert("RGBA").convert("LA") if gray and alpha and image.mode != "LA" else image.convert(mode)
        pixels: NDArray[np.uint8] = np.asarray(whole)
    if pixels.ndim == 2:
        return Decoded(pixels[:, :, None], None, jpeg)
    if alpha:
        return Decoded(_reversed_colours(pixels[:, :, :-1]), pixels[:, :, -1], jpeg)
    return Decoded(_reversed_colours(pixels), None, jpeg)


def _decode_16_bit(data: bytes, header: PictureHeader, path: Path) -> Decoded:
    # OpenCV is given the pixels only: what it makes of profiles and transparency keys differs between versions.
    found = cv2.imdecode(np.frombuffer(without_extras(data, path), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise corrupt(path, "its pixels cannot be decoded")
    pixels = np.asarray(found, np.uint16).reshape(header.height_px, header.width_px, -1)
    colour_type = data[25]
    if colour_type == 4:  # gray and alpha: OpenCV repeats the gray three times
        return Decoded(pixels[:, :, :1], pixels[:, :, -1])
    if colour_type == 6:
        return Decoded(pixels[:, :, :3], pixels[:, :, 3])
    if header.transparent is None:
        return Decoded(pixels, None)
    key = np.array(header.transparent[::-1], np.uint16)
    return Decoded(pixels, np.where((pixels == key).all(axis=2), 0, 65535).astype(np.uint16))


def _reversed_colours(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[:, :, ::-1] if pixels.shape[2] == 3 else pixels


def _jpeg_coding(image: Image.Image) -> JpegCoding | None:
    """How the file was compressed; None where the encoder could not do it the same way."""
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    if image.mode not in ("L", "RGB") or image.info.get("adobe_transform") == 0 or not 1 <= len(tables) <= 4:
        return None
    return JpegCoding(
        tables=tuple(tuple(tables[number]) for number in sorted(tables)),
        subsampling=max(JpegImagePlugin.get_sampling(image), 0) if image.mode == "RGB" else 0,
        progressive=bool(image.info.get("progressive")),
    )
