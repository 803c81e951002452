"""HEIF and AVIF files put together by hand around lossless pictures, so that every box can be right or wrong.

FFmpeg's own program codes the planes (x265 and libaom); the container is written here, independently of faceflow.
"""

import io
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

_X265 = "lossless=1:log-level=none:pools=none:frame-threads=1"
_CODERS = {
    "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", _X265],
    "av1": ["-c:v", "libaom-av1", "-crf", "0", "-cpu-used", "8", "-aom-params", "lossless=1", "-still-picture", "1"],
}
ITEM = {"hevc": b"hvc1", "av1": b"av01"}


def box(name, *parts):
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + name + content


def full_box(name, version, flags, *parts):
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


@dataclass
class Item:
    """One item: its type, data, properties and references to other items (numbers count from 1)."""

    kind: bytes
    data: bytes = b""
    properties: list = field(default_factory=list)
    refers: list = field(default_factory=list)
    in_idat: bool = False
    protected: bool = False


def heif(items, *, primary=1, brands=(b"heic", b"mif1", b"heic"), handler=b"pict", more=b""):
    """The bytes of a file. `brands` is the major brand and the compatible ones; `more` lies at the end."""
    ftyp = box(b"ftyp", brands[0], bytes(4), *brands[1:])
    length = len(ftyp) + len(_meta(items, primary, handler, 0))
    media = b"".join(item.data for item in items if not item.in_idat)
    return ftyp + _meta(items, primary, handler, length + 8) + box(b"mdat", media) + more


def _meta(items, primary, handler, place):
    ids = range(1, len(items) + 1)
    properties, numbers = [], {}
    associations = b""
    for number, item in zip(ids, items, strict=True):
        listed = b""
        for name, content, essential in item.properties:
            entry = box(name, content)
            if entry not in numbers:
                properties.append(entry)
                numbers[entry] = len(properties)
            listed += struct.pack(">H", numbers[entry] | (0x8000 if essential else 0))
        associations += struct.pack(">HB", number, len(item.properties)) + listed
    entries = [
        full_box(b"infe", 2, 0, struct.pack(">HH", number, int(item.protected)), item.kind, b"\0")
        for number, item in zip(ids, items, strict=True)
    ]
    references = [
        box(name, struct.pack(">HH", number, len(targets)), *(struct.pack(">H", target) for target in targets))
        for number, item in zip(ids, items, strict=True)
        for name, targets in item.refers
    ]
    locations, idat = b"", b""
    for number, item in zip(ids, items, strict=True):
        at = len(idat) if item.in_idat else place
        locations += struct.pack(">HHHHII", number, int(item.in_idat), 0, 1, at, len(item.data))
        if item.in_idat:
            idat += item.data
        else:
            place += len(item.data)
    return full_box(
        b"meta", 0, 0,
        full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(13)),
        full_box(b"pitm", 0, 0, struct.pack(">H", primary)),
        full_box(b"iinf", 0, 0, struct.pack(">H", len(items)), *entries),
        full_box(b"iref", 0, 0, *references) if references else b"",
        box(
            b"iprp",
            box(b"ipco", *properties),
            full_box(b"ipma", 0, 1, struct.pack(">I", len(items)), associations),
        ),
        full_box(b"iloc", 1, 0, b"\x44\0", struct.pack(">H", len(items)), locations),
        box(b"idat", idat) if idat else b"",
    )  # fmt: skip


def size(width, height):
    return b"ispe", struct.pack(">III", 0, width, height), False


def turned(quarters):
    return b"irot", bytes([quarters]), True


def mirrored(axis):
    return b"imir", bytes([axis]), True


def cropped(width, height, right_by=0, down_by=0):
    """A clean aperture; offsets of the middle in half pixels."""
    return b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right_by, 2, down_by, 2), True


def colours(primaries, transfer, matrix, full):
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0x80 if full else 0), False


def profile(icc):
    return b"colr", b"prof" + icc, False


def auxiliary(urn):
    return b"auxC", bytes(4) + urn + b"\0", False


ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"


def coded(planes, pixel_format, codec="hevc"):
    """An item whose decoder returns exactly these planes: (H, W) each, in FFmpeg's order; with `ispe` and set-up."""
    height, width = planes[0].shape
    raw = b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)
    setup, data = _coded(raw, width, height, pixel_format, codec)
    return Item(ITEM[codec], data, [size(width, height), (b"hvcC" if codec == "hevc" else b"av1C", setup, True)])


@lru_cache(maxsize=256)
def _coded(raw, width, height, pixel_format, codec):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.mp4"
        subprocess.run(
            [
                imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", pixel_format,
                "-s", f"{width}x{height}", "-i", "-", "-frames:v", "1", *_CODERS[codec], "-strict", "-2", str(path),
            ],
            input=raw, check=True, capture_output=True,
        )  # fmt: skip
        with av.open(io.BytesIO(path.read_bytes())) as container:
            stream = container.streams.video[0]
            packet = next(container.demux(stream))
            return bytes(stream.codec_context.extradata), bytes(packet)


def grid(tiles, columns, width, height, **more):
    """A grid of coded items of one size: the grid first, then its tiles."""
    rows = len(tiles) // columns
    whole = Item(
        b"grid",
        struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height),
        [size(width, height), *more.pop("properties", [])],
        [(b"dimg", list(range(2, len(tiles) + 2)))],
        in_idat=True,
    )
    return [whole, *tiles]
