"""Colour bars: made in any pixel format, and what an independent decoder shows of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import av.filter
import numpy as np

from tests.clips import ffmpeg_binary

COLOURS = (
    (200, 30, 30), (30, 190, 40), (40, 50, 210), (200, 190, 20), (20, 190, 190), (190, 30, 180),
    (230, 230, 230), (120, 120, 120), (20, 20, 20), (210, 140, 90),
)  # fmt: skip
"""R, G, B of each bar: saturated ones, grays and skin."""

EXACT = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
MATRICES = {1: "bt709", 2: "smpte170m", 6: "smpte170m", 9: "bt2020"}


def picture(width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3), RGB: bars from top to bottom."""
    row = np.array(COLOURS, np.uint8)[np.arange(width) * len(COLOURS) // width]
    return np.repeat(row[None], height, axis=0)


def middles(rgb: np.ndarray, top: float = 0.25, bottom: float = 0.75) -> np.ndarray:
    """float (bars, 3): the colour in the middle of each bar, between two heights of the picture."""
    height, width = rgb.shape[:2]
    half = width / len(COLOURS)
    rows = rgb[round(top * height) : round(bottom * height)]
    spans = [(round((bar + 0.35) * half), round((bar + 0.65) * half)) for bar in range(len(COLOURS))]
    return np.array([rows[:, left:right].reshape(-1, 3).mean(axis=0) for left, right in spans])  # dither evens out


def worst(shown: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference of a component, in codes of 8 bits."""
    return float(np.abs(shown - wanted).max())


def hues(colours: np.ndarray) -> np.ndarray:
    """Hue in degrees of R, G, B rows."""
    red, green, blue = (colours[:, channel] / 255 for channel in range(3))
    return np.degrees(np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue)) % 360


def saturations(colours: np.ndarray) -> np.ndarray:
    """Distance of the largest from the smallest component, over the largest."""
    return np.ptp(colours, axis=1) / np.maximum(colours.max(axis=1), 1)


def same_colours(shown: np.ndarray, wanted: np.ndarray, tolerance: float) -> str | None:
    """None where hue, saturation and every component agree, else what does not."""
    coloured = np.ptp(wanted, axis=1) > 60
    apart = np.where(coloured, np.abs((hues(shown) - hues(wanted) + 180) % 360 - 180), 0)
    if apart.max() > 8:
        return f"hue is off by {apart.round().tolist()} degrees"
    if np.abs(saturations(shown) - saturations(wanted))[coloured].max(initial=0) > 0.1:
        return f"saturation {saturations(shown).round(2).tolist()} instead of {saturations(wanted).round(2).tolist()}"
    if worst(shown, wanted) > tolerance:
        return f"a component is off by {worst(shown, wanted)}"
    return None


def filtered(frame: av.VideoFrame, *steps: tuple[str, str]) -> av.VideoFrame:
    """A frame through filters. Not those of `media.conversion`: what is tested must not help to judge itself."""
    graph = av.filter.Graph()
    last = graph.add(
        "buffer",
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1:pixel_aspect=1/1"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
    )
    for name, arguments in [*steps, ("buffersink", "")]:
        step = graph.add(name, arguments) if arguments else graph.add(name)
        last.link_to(step)
        last = step
    graph.configure()
    graph.push(frame)
    graph.push(None)
    pulled = graph.pull()
    assert isinstance(pulled, av.VideoFrame)
    return pulled


def frame_of(name: str, width: int, height: int, matrix: int = 6, colour_range: int = 1) -> av.VideoFrame | None:
    """The bars as a frame of any format, tagged; None where nothing here can make one.

    Big-endian frames are the little-endian ones with their bytes swapped, not what a library makes of them.
    """
    if name.endswith("be") and not name.startswith("bayer_"):
        return _swapped(name, width, height, matrix, colour_range)
    special = {"pal8": _palette, "uyyvyy411": _uyyvyy411}.get(name, _mosaic if name.startswith("bayer_") else None)
    if special is not None:
        frame = special(name, width, height)
    else:
        full = "full" if colour_range == 2 or name.startswith("yuvj") else "limited"
        source = av.VideoFrame.from_ndarray(picture(width, height), format="rgb24")
        scale = f"{EXACT}:out_color_matrix={MATRICES[matrix]}:out_range={full}"
        try:
            frame = filtered(source, ("scale", scale), ("format", f"pix_fmts={name}"))
        except (av.error.FFmpegError, ValueError):
            return None
    frame.colorspace = 0 if frame.format.is_rgb else matrix
    frame.color_range = colour_range
    return frame


def _swapped(name, width, height, matrix, colour_range):
    little = frame_of(name.removesuffix("be") + "le", width, height, matrix, colour_range)
    if little is None:
        return None
    frame = av.VideoFrame(width, height, name)
    words = np.uint32 if "x2" in name or "v30" in name else np.uint16
    for number, plane in enumerate(little.planes):
        frame.planes[number].update(np.frombuffer(memoryview(plane), words).byteswap().tobytes())
    frame.colorspace, frame.color_range = little.colorspace, little.color_range
    return frame


def _filled(frame: av.VideoFrame, rows: np.ndarray) -> av.VideoFrame:
    """`rows`: uint8 (height, bytes of a row)."""
    buffer = np.zeros((frame.height, frame.planes[0].line_size), np.uint8)
    buffer[:, : rows.shape[1]] = rows
    frame.planes[0].update(buffer.tobytes())
    return frame


def _palette(name, width, height):
    frame = av.VideoFrame(width, height, name)
    entries = np.zeros((256, 4), np.uint8)
    entries[: len(COLOURS)] = [(blue, green, red, 255) for red, green, blue in COLOURS]
    frame.planes[1].update(entries.tobytes())
    numbers = (np.arange(width) * len(COLOURS) // width).astype(np.uint8)
    return _filled(frame, np.repeat(numbers[None], height, axis=0))


def _uyyvyy411(name, width, height):
    planar = frame_of("yuv411p", width, height)
    luma, blue, red = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : plane.width]
        for plane in planar.planes
    )
    y = luma.reshape(height, -1, 4)
    packed = np.stack([blue, y[:, :, 0], y[:, :, 1], red, y[:, :, 2], y[:, :, 3]], axis=2)
    return _filled(av.VideoFrame(width, height, name), packed.reshape(height, -1))


def _mosaic(name, width, height):
    bars = picture(width, height).astype(np.uint32)
    seen = np.zeros((height, width), np.uint32)
    for place, colour in enumerate(name.removeprefix("bayer_")[:4]):
        row, column = divmod(place, 2)
        seen[row::2, column::2] = bars[row::2, column::2, "rgb".index(colour)]
    stored = (seen * 257).astype(">u2" if name.endswith("be") else "<u2") if "16" in name else seen.astype(np.uint8)
    return _filled(av.VideoFrame(width, height, name), stored.view(np.uint8).reshape(height, -1))


def shown_by_swscale(frame: av.VideoFrame, matrix: int, colour_range: int) -> np.ndarray:
    """uint8 (H, W, 3), RGB, told explicitly by which matrix and range the frame is to be read."""
    if frame.format.is_rgb or frame.format.has_palette:
        # Through planes: the short ways of swscale from big-endian 555 and 565 do not swap bytes.
        shown = filtered(frame, ("scale", EXACT), ("format", "pix_fmts=gbrp"))
    else:
        full = "full" if colour_range == 2 or frame.format.name.startswith("yuvj") else "limited"
        scale = f"{EXACT}:in_color_matrix={MATRICES[matrix]}:in_range={full}"
        shown = filtered(frame, ("scale", scale), ("format", "pix_fmts=gbrp"))
    return filtered(shown, ("scale", EXACT), ("format", "pix_fmts=rgb24")).to_ndarray()


def shown_by_ffmpeg(path: Path, width: int, height: int, filters: str = "") -> np.ndarray:
    """uint8 (H, W, 3), RGB: the first frame as the ffmpeg binary, another version of FFmpeg, decodes and shows it."""
    steps = ",".join(filter(None, [filters, f"scale={EXACT}", "format=gbrp", f"scale={EXACT}"]))
    done = subprocess.run(
        [
            *(ffmpeg_binary(), "-v", "error", "-i", str(path), "-map", "0:v:0", "-frames:v", "1", "-vf", steps),
            *("-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
        ],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3)
