"""The small whole pictures that are mutated: every format that is read, in its kinds, made without random numbers."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tests.fuzz.layout import Layout
from tests.fuzz.layout_pictures import heif_layout, jpeg_layout, png_layout, webp_layout, with_right_checks
from tests.pictures import heif, samples

_SIDE = 64
_EXIF = b"Exif\0\0" + samples.exif_bytes(6, thumbnail=b"\xff\xd8old face\xff\xd9", width=_SIDE, height=_SIDE)
_ALL_TURNS = [heif.cropped(60, 48), heif.turned(1), heif.mirrored(1), heif.profile(samples.SRGB)]


@dataclass(frozen=True)
class Format:
    """A kind of picture: its ending, the reader of its layout, what makes its files, what mends the checks."""

    suffix: str
    layout: Callable[[bytes], Layout]
    files: Callable[[], list[bytes]]
    checked: Callable[[bytearray], None] | None = None


def _photo(mode: str = "RGB") -> Image.Image:
    image = Image.fromarray(samples.photo(_SIDE, _SIDE))
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.add.outer(np.arange(_SIDE), np.arange(_SIDE)).astype(np.uint8)))
    return image.convert(mode)


def _jpegs() -> list[bytes]:
    return [
        samples.encoded(_photo(), "JPEG", quality=85, exif=_EXIF, icc_profile=samples.SRGB),
        samples.encoded(_photo(), "JPEG", quality=60, progressive=True, subsampling=2, restart_marker_rows=1),
        samples.encoded(_photo("L"), "JPEG", quality=90),
        samples.encoded(_photo(), "JPEG", quality=30, subsampling=1, optimize=True),
    ]


def _pngs() -> list[bytes]:
    words = samples.chunk(b"gAMA", (45455).to_bytes(4)) + samples.chunk(b"cICP", bytes([12, 13, 0, 1]))
    return [
        samples.encoded(_photo(), "PNG", exif=_EXIF, icc_profile=samples.SRGB),
        samples.encoded(_photo("RGBA"), "PNG"),
        samples.encoded(_photo("P"), "PNG", transparency=3),
        samples.png_bytes(samples.photo_16_bit(_SIDE, _SIDE), extra=words),
        samples.encoded(_photo("1"), "PNG"),
        samples.animated_png(),
    ]


def _webps() -> list[bytes]:
    return [
        samples.encoded(_photo(), "WEBP", quality=70, exif=_EXIF, icc_profile=samples.SRGB),
        samples.encoded(_photo("RGBA"), "WEBP", quality=70),
        samples.encoded(_photo("RGBA"), "WEBP", lossless=True),
        samples.animated("WEBP"),
    ]


def _coded(codec: str, pixel_format: str = "yuv420p") -> heif.Item:
    rgb = samples.photo(_SIDE, _SIDE)
    chroma = [rgb[::2, ::2, channel] for channel in (1, 2)]
    return heif.coded([rgb[:, :, 0], *chroma], pixel_format, codec)


def _boxed(codec: str) -> list[bytes]:
    one = _coded(codec)
    brands = (b"heic", b"mif1", b"heic") if codec == "hevc" else (b"avif", b"mif1", b"avif", b"miaf")
    exif = heif.Item(b"Exif", b"\0\0\0\6" + _EXIF, refers=[(b"cdsc", [1])])
    alpha = heif.coded([samples.photo(_SIDE, _SIDE)[:, :, 1]], "gray", codec)
    aux = dataclasses.replace(
        alpha, properties=[*alpha.properties, heif.auxiliary(heif.ALPHA)], refers=[(b"auxl", [1])]
    )
    deep = heif.coded([samples.photo_16_bit(_SIDE, _SIDE)[:, :, 0] >> 6], "gray10le", codec)
    return [
        heif.heif([dataclasses.replace(one, properties=[*one.properties, *_ALL_TURNS]), exif], brands=brands),
        heif.heif(
            heif.grid([one] * 6, 3, 180, 128, properties=[heif.colours(12, 13, 6, True), heif.turned(3)]),
            brands=brands,
        ),
        heif.heif([dataclasses.replace(one, refers=[(b"prem", [2])]), aux, exif], brands=brands),
        heif.heif(
            [dataclasses.replace(deep, properties=[*deep.properties, heif.colours(9, 16, 9, False)])], brands=brands
        ),
        heif.heif(
            [heif.Item(b"iden", refers=[(b"dimg", [2])], properties=[heif.turned(1)], in_idat=True), one],
            brands=brands,
        ),
    ]


def _avifs() -> list[bytes]:
    photo = _photo("RGBA")
    several = samples.encoded(_photo(), "AVIF", save_all=True, append_images=[_photo()], max_threads=1)
    still = samples.encoded(photo, "AVIF", exif=_EXIF[6:], max_threads=1, speed=8)
    return [*_boxed("av1"), still, _without_times(several)]


def _without_times(content: bytes) -> bytes:
    """The same with the times of day in the heads of its tracks (of version 1) set to nought."""
    data = bytearray(content)
    for name in (b"mvhd", b"tkhd", b"mdhd"):
        place = data.find(name)
        while place >= 0:
            data[place + 8 : place + 24] = bytes(16)
            place = data.find(name, place + 1)
    return bytes(data)


FORMATS = {
    "jpeg": Format(".jpg", jpeg_layout, _jpegs),
    "png": Format(".png", png_layout, _pngs, with_right_checks),
    "webp": Format(".webp", webp_layout, _webps),
    "heic": Format(".heic", heif_layout, lambda: _boxed("hevc")),
    "avif": Format(".avif", heif_layout, _avifs),
}


def make_bases(folder: Path) -> None:
    """Makes every picture that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, form in FORMATS.items():
        if not any(folder.glob(f"{name}-*")):
            for number, content in enumerate(form.files()):
                made = folder / f"making-{os.getpid()}"
                made.write_bytes(content)
                made.replace(folder / f"{name}-{number}{form.suffix}")


@cache
def bases(folder: Path, name: str) -> tuple[bytes, ...]:
    """The pictures of one format."""
    return tuple(path.read_bytes() for path in sorted(folder.glob(f"{name}-*")))


@cache
def layout_of(folder: Path, name: str, number: int) -> Layout:
    """The layout of one of them."""
    return FORMATS[name].layout(bases(folder, name)[number])
