"""From any pixel format that decodes to a native one: the one road, for the mezzanine and for a first look alike.

swscale does the work. What is decided here is what it cannot know or gets wrong:

- RGB becomes limited-range YUV 4:4:4 by the matrix of its primaries (BT.2020 for those of BT.2020, else BT.709), and
  the colour tags say so (`converted_colour`). CIE XYZ leaves swscale with BT.709 primaries and a gamma of 2.2.
- RGB of fewer than 8 bits a component and sensor mosaics go through whole RGB first: swscale's direct ways to YUV leave
  5-bit white darker than it is and mix up the colours of a mosaic, and its short ways from big-endian 555 and 565 do
  not swap bytes.
- Between YUV formats samples keep their matrix and range, whatever these are, so a matrix that swscale does not know
  is hidden from it (`hide_strange_matrix`), because it would refuse the frame.

Floating-point samples, frames in a graphics card's memory and formats that swscale does not read are refused when a
file is probed (`is_readable_format`), and so are matrices that are more than a matrix (`READABLE_MATRICES`).
"""

from __future__ import annotations

from functools import lru_cache

import av
import av.error
import av.filter
from av.video.frame import VideoFrame

from faceflow.media.facts import ColourTags, VideoInfo
from faceflow.media.formats import NATIVE_FORMATS, is_floating, is_mosaic, mezzanine_format, samples_of

Step = tuple[str, str]
"""A filter's name and its arguments."""

NOT_STATED = 2
RGB_MATRIX = 0
READABLE_MATRICES = frozenset({1, 2, *range(4, 10), 12})
"""Codes of H.273 by which YUV is read: not constant luminance (10, 13), YDzDx (11), ICtCp (14), IPT-C2 (15) and
lossless YCgCo (16, 17). Read like their neighbours, they would be off by up to 35 of 255 codes."""

_SWSCALE_MATRICES = frozenset({RGB_MATRIX, 1, 2, 4, 5, 6, 7, 9})
_BT709, _BT2020 = 1, 9
_GAMMA_22 = 4
_LIMITED = 1
_FLAGS = "flags=bicubic+accurate_rnd+full_chroma_int"
_MATRIX_NAMES = {_BT709: "bt709", _BT2020: "bt2020"}
_MATRIX_WORDS = {_BT709: "BT.709", _BT2020: "BT.2020"}


@lru_cache(maxsize=512)
def is_readable_format(name: str) -> bool:
    """Whether frames of this format can be handled: in memory, with whole-number samples, and known to swscale."""
    try:
        samples_of(name)
    except ValueError:
        return False
    if name in NATIVE_FORMATS:
        return True
    if is_floating(name):
        return False
    target = mezzanine_format(name, sideways=False)
    steps = conversion_steps(name, target, converted_colour(name, target, ColourTags()), (64, 64))
    try:
        filter_graph(VideoFrame(64, 64, name), steps)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def conversion_steps(source: str, target: str, colour: ColourTags, size: tuple[int, int]) -> list[Step]:
    """The filters that make frames of format `source` to format `target`.

    Args:
        source: FFmpeg's name of the decoded format.
        target: a native format.
        colour: tags of the result, as `converted_colour` gives them.
        size: width and height of the result in pixels.
    """
    scale = f"w={size[0]}:h={size[1]}:{_FLAGS}"
    if samples_of(source).kind == "rgb":
        scale += f":out_color_matrix={_MATRIX_NAMES[colour.matrix]}:out_range=limited"
    return [*whole_rgb_steps(source), ("scale", scale), ("format", f"pix_fmts={target}")]


def whole_rgb_steps(source: str) -> list[Step]:
    """The filters that give 8 or 16 bits to each of R, G and B, for a `source` that swscale is wrong about directly."""
    if not is_indirect(source):
        return []
    steps: list[Step] = []
    if source.endswith("be") and not is_mosaic(source):
        steps += [("scale", _FLAGS), ("format", f"pix_fmts={source.removesuffix('be')}le")]
    whole = "rgb48le" if samples_of(source).bits > 8 else "rgb24"
    return [*steps, ("scale", _FLAGS), ("format", f"pix_fmts={whole}")]


def planar_rgb_steps(source: str) -> tuple[list[Step], str]:
    """The filters that make frames of an RGB format planar, for filters that work on planes; and what they become."""
    planar = "gbrp10le" if samples_of(source).bits > 8 else "gbrp"
    if source == planar:
        return [], planar
    return [*whole_rgb_steps(source), ("scale", _FLAGS), ("format", f"pix_fmts={planar}")], planar


def is_indirect(source: str) -> bool:
    """Whether swscale is only right about this format by way of whole RGB."""
    samples = samples_of(source)
    return samples.kind == "rgb" and (samples.bits < 8 or is_mosaic(source))


def converted_colour(source: str, target: str, colour: ColourTags) -> ColourTags:
    """The colour tags of frames that `conversion_steps` made."""
    if samples_of(source).kind != "rgb" or samples_of(target).kind == "rgb":
        return colour
    if source.startswith("xyz"):
        colour = colour.model_copy(update={"primaries": _BT709, "transfer": _GAMMA_22})
    matrix = _BT2020 if colour.primaries == _BT2020 else _BT709
    return colour.model_copy(update={"matrix": matrix, "colour_range": _LIMITED})


def conversion_losses(source: str, target: str, colour: ColourTags) -> tuple[str, ...]:
    """What frames of format `source` lose as `target`, one sentence without its end a loss."""
    before, after = samples_of(source), samples_of(target)
    losses = []
    if before.bits > after.bits:
        losses.append(f"its {before.bits} bits per sample were reduced to {after.bits}")
    if before.kind == "rgb" and after.kind == "yuv":
        words = _MATRIX_WORDS[converted_colour(source, target, colour).matrix]
        losses.append(f"its {_colours(source)} were converted to YUV 4:4:4 with the {words} matrix")
    elif before.sampling != after.sampling:
        losses.append(f"its {before.sampling} chroma was resampled to {after.sampling}")
    return tuple(losses)


def _colours(source: str) -> str:
    if source.startswith("xyz"):
        return "XYZ colours"
    return "sensor samples" if is_mosaic(source) else "palette colours" if source.startswith("pal") else "RGB colours"


def filter_graph(frame: VideoFrame, steps: list[Step]) -> av.filter.Graph:
    """A configured graph for frames like `frame`, from a buffer through `steps` to a sink."""
    hide_strange_matrix(frame)
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
    return graph


def hide_strange_matrix(frame: VideoFrame) -> None:
    """Makes a frame's colour matrix "not stated" where filters would refuse it; `VideoInfo` knows the true one."""
    if int(frame.colorspace) not in _SWSCALE_MATRICES:
        frame.colorspace = NOT_STATED


def swscale_sees(video: VideoInfo) -> bool:
    """Whether swscale shows frames of this video in their own colours when it is asked for RGB directly."""
    if is_indirect(video.pixel_format):
        return False
    samples = samples_of(video.pixel_format)
    if samples.kind == "gray":
        return video.colour.colour_range != _LIMITED  # it takes any gray for full range
    return samples.kind == "rgb" or video.colour.matrix in _SWSCALE_MATRICES


def to_native(frame: VideoFrame, video: VideoInfo) -> tuple[VideoFrame, VideoInfo]:
    """A decoded frame in the native format that the entrance would give it, and `video` with that format and colour."""
    source = frame.format.name
    target = mezzanine_format(source, sideways=video.rotation_degrees in {90, 270})
    if source == target:
        return frame, video
    colour = converted_colour(source, target, video.colour)
    graph = filter_graph(frame, conversion_steps(source, target, colour, (frame.width, frame.height)))
    graph.push(frame)
    native = graph.pull()
    if not isinstance(native, VideoFrame):
        raise TypeError(f"a {source} frame was converted to {type(native).__name__}")
    return native, video.model_copy(update={"pixel_format": target, "colour": colour})
