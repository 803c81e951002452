"""Pictures made on the spot: a photograph from scikit-image and hand-made files of every unusual kind."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from skimage import data

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(width=96, height=64):
    """uint8 (height, width, 3), RGB: part of a photograph, so that no two rows or columns are alike."""
    return np.ascontiguousarray(data.astronaut()[20 : 20 + height, 180 : 180 + width])


def photo_16_bit(width=96, height=64):
    """uint16 (height, width, 3), RGB, using the low bits too."""
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3))
    return (photo(width, height).astype(np.uint16) * 256 + noise).astype(np.uint16)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_bytes(samples, *, extra=b"", colour_type=None, interlace=0, depth=None):
    """A PNG written independently of faceflow: no filters, samples (H, W) or (H, W, C) big-endian."""
    samples = samples if samples.ndim == 3 else samples[:, :, None]
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour_type is None else colour_type
    depth = depth or 8 * samples.dtype.itemsize
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def huge_png_header(width=30000, height=30000):
    """A file of 80 bytes that promises 900 million pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def jpeg_bytes(**options):
    return encoded(Image.fromarray(photo()), "JPEG", **{"quality": 90, **options})


def with_size_in_jpeg(jpeg, width, height):
    """The JPEG with another size in its frame header."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def exif_bytes(orientation=1, *, thumbnail=None, width=96, height=64):
    """A TIFF block with orientation, maker, pixel size and, if wanted, a thumbnail in a second directory."""
    exif = Image.Exif()
    exif[0x010F] = "Kamera"
    exif[0x0112] = orientation
    details = exif.get_ifd(0x8769)
    details[0xA002], details[0xA003] = width, height
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    return block if thumbnail is None else _with_thumbnail(block, thumbnail)


def _with_thumbnail(block, thumbnail):
    order = "<" if block[:2] == b"II" else ">"
    block = bytearray(block + b"\0" * (len(block) % 2))
    first = struct.unpack_from(order + "I", block, 4)[0]
    count = struct.unpack_from(order + "H", block, first)[0]
    directory = len(block)
    struct.pack_into(order + "I", block, first + 2 + 12 * count, directory)
    where = directory + 2 + 2 * 12 + 4
    block += struct.pack(order + "H", 2)
    block += struct.pack(order + "HHII", 0x0201, 4, 1, where)
    block += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail))
    block += struct.pack(order + "I", 0) + thumbnail
    return bytes(block)


def animated_png():
    frames = [Image.fromarray(photo()), Image.fromarray(photo()[::-1].copy())]
    return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])


def animated(form):
    frames = [Image.fromarray(photo()), Image.fromarray(photo()[::-1].copy())]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)


def saved(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
