"""Every pixel format that FFmpeg knows keeps its colours from the decoder's frame to native planes, or is refused."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.format import names  # type: ignore[attr-defined]

from faceflow.errors import MediaError
from faceflow.media.colour import cropped
from faceflow.media.conversion import conversion_losses, is_readable_format, to_native
from faceflow.media.facts import ColourTags, MediaInfo, VideoInfo
from faceflow.media.formats import NATIVE_FORMATS, mezzanine_format, samples_of
from faceflow.media.planes import native_frame
from faceflow.media.probe import probe
from faceflow.media.tags import colour_tags
from faceflow.media.thumbnail import luma_thumbnail
from faceflow.media.transcode import _described, _Filters
from faceflow.stages.validate import _of_a_layer
from faceflow.vision.view import DecodedView
from tests.clips import ffmpeg, picture, x265
from tests.media import bars
from tests.media.pipeline import LIMITS

WIDTH, HEIGHT = 160, 64
WHOLE = np.array([[1, 0, 0], [0, 1, 0]], np.float32)


class _Silent:
    """A track that says nothing about colours."""

    colorspace, color_range, color_primaries, color_trc = 2, 0, 2, 2


def info_of(frame: av.VideoFrame, **more) -> VideoInfo:
    described = {"colour": colour_tags(frame, _Silent, 0, False), **more}
    return VideoInfo(
        stream_index=0, codec="any", width_px=frame.width, height_px=frame.height, coded_width_px=frame.width,
        coded_height_px=frame.height, pixel_format=frame.format.name, bit_depth=samples_of(frame.format.name).bits,
        time_base=Fraction(1, 25), average_rate=None, **described,
    )  # fmt: skip


def normalised(frame: av.VideoFrame, video: VideoInfo) -> np.ndarray:
    """What swap sees of a frame that went through the entrance: uint8 (H, W, 3), RGB."""
    media = MediaInfo(container="mov", size_bytes=1, duration_s=1, video=video)
    target = _described(media, frame.width, frame.height, mezzanine_format(video.pixel_format, sideways=False))
    filters = _Filters(video.interlaced, media, target)
    frame.pts, frame.time_base = 0, Fraction(1)
    (native,) = [*filters.push(frame), *filters.push(None)]
    assert native.format.name in NATIVE_FORMATS
    seen = native_frame(native, 0, 0, target.video, writable=False)
    return cropped(seen, WHOLE, (frame.width, frame.height))[:, :, ::-1]


def wrong_with(name: str, matrix: int, colour_range: int, **more) -> list[str]:
    """What differs from the reference on each road that a frame takes; one entry if nothing can make the frame."""
    frame = bars.frame_of(name, WIDTH, HEIGHT, matrix, colour_range)
    if frame is None:
        return ["no frame of this format can be made"]
    video = info_of(frame, **more)
    wanted = bars.middles(bars.shown_by_swscale(frame, matrix, colour_range))
    if samples_of(name).kind == "gray" and samples_of(name).bits > 1 and colour_range == 1:
        wanted = np.clip((wanted - 16) * 255 / 219, 0, 255)  # by H.273; swscale takes any gray for full range
    view = DecodedView(frame, video)
    roads = {
        "entrance": normalised(frame, video),
        "overview": view.overview(WIDTH)[0][:, :, ::-1],
        "patch": view.patch(WHOLE, WIDTH)[:HEIGHT, :, ::-1],
        "half": view.overview(WIDTH // 2)[0][:, :, ::-1],
    }
    tolerance = {1: 20}.get(samples_of(name).bits, 6 if samples_of(name).bits > 7 else 9)
    found = {road: bars.same_colours(bars.middles(shown), wanted, tolerance) for road, shown in roads.items()}
    return [f"{name} matrix {matrix} range {colour_range}, {road}: {what}" for road, what in found.items() if what]


READABLE = sorted(name for name in names if is_readable_format(name))
REFUSED = sorted(set(names) - set(READABLE))


def test_every_format_keeps_its_colours():
    wrong = [what for name in READABLE for what in wrong_with(name, 6, 1)]
    assert not wrong, "\n".join(wrong)
    assert len(READABLE) >= 200


@pytest.mark.full
@pytest.mark.parametrize("name", READABLE)
def test_every_format_keeps_its_colours_by_any_matrix_and_range(name):
    wrong = [
        what for matrix in (1, 2, 6, 9) for colour_range in (0, 1, 2) for what in wrong_with(name, matrix, colour_range)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.parametrize("name", READABLE)
def test_every_format_keeps_its_colours_when_it_is_deinterlaced(name):
    wrong = wrong_with(name, 1, 1, interlaced=True)
    assert not wrong, "\n".join(wrong)


def test_refused_formats_are_in_no_memory_or_hold_no_whole_numbers_or_are_unknown_to_swscale():
    floating = [name for name in REFUSED if "f16" in name or "f32" in name]
    in_hardware = [name for name in REFUSED if not av.VideoFormat(name, 16, 16).components]
    rest = sorted(set(REFUSED) - set(floating) - set(in_hardware))
    for name in rest:
        target = mezzanine_format(name, sideways=False)
        with pytest.raises((av.error.FFmpegError, ValueError)):
            bars.filtered(av.VideoFrame(64, 64, name), ("scale", bars.EXACT), ("format", f"pix_fmts={target}"))


@pytest.mark.parametrize(
    ("name", "upright", "sideways"),
    [
        ("yuv444p12le", "yuv444p10le", "yuv444p10le"),
        ("yuva444p", "yuv444p", "yuv444p"),
        ("p416be", "yuv444p10le", "yuv444p10le"),
        ("nv24", "yuv444p", "yuv444p"),
        ("vuya", "yuv444p", "yuv444p"),
        ("yuv422p", "yuv422p", "yuv420p"),
        ("yuvj422p", "yuvj422p", "yuv420p"),
        ("y216le", "yuv422p10le", "yuv420p10le"),
        ("uyvy422", "yuv422p", "yuv420p"),
        ("yuv440p12le", "yuv420p10le", "yuv420p10le"),
        ("yuv411p", "yuv420p", "yuv420p"),
        ("yuv410p", "yuv420p", "yuv420p"),
        ("p010le", "yuv420p10le", "yuv420p10le"),
        ("gbrap16be", "yuv444p10le", "yuv444p10le"),
        ("rgb555be", "yuv444p", "yuv444p"),
        ("bayer_rggb16le", "yuv444p10le", "yuv444p10le"),
        ("pal8", "yuv444p", "yuv444p"),
        ("xyz12le", "yuv444p10le", "yuv444p10le"),
        ("monob", "gray", "gray"),
        ("ya16le", "gray10le", "gray10le"),
    ],
)
def test_the_native_format_that_loses_least_is_chosen(name, upright, sideways):
    assert mezzanine_format(name, sideways=False) == upright
    assert mezzanine_format(name, sideways=True) == sideways


@pytest.mark.parametrize(
    "name", ["yuv422p", "yuvj422p", "yuv440p", "yuvj440p", "yuv411p", "uyvy422", "yuv422p12le", "yuv444p16le"]
)
def test_pictures_on_their_side_keep_their_colours(name):
    frame = bars.frame_of(name, WIDTH, HEIGHT, 1, 1)
    colour = colour_tags(frame, _Silent, 90, False)
    video = info_of(frame, rotation_degrees=90, colour=colour).model_copy(
        update={"width_px": HEIGHT, "height_px": WIDTH}
    )
    wanted = bars.middles(bars.shown_by_swscale(frame, 1, 1))
    native, seen = to_native(frame, video)
    upright = native_frame(native, 0, 0, seen, writable=False)
    shown = np.rot90(cropped(upright, WHOLE, (HEIGHT, WIDTH))[:, :, ::-1])
    assert bars.same_colours(bars.middles(shown), wanted, 6) is None


@pytest.mark.parametrize("matrix", [3, 8, 12, 99])
@pytest.mark.parametrize("name", ["yuv444p", "yuv422p12le", "p010le", "gray12le", "gbrp12le"])
def test_a_matrix_that_filters_refuse_does_not_stop_a_frame(name, matrix):
    frame = bars.frame_of(name, WIDTH, HEIGHT, 1, 1)
    frame.colorspace = matrix
    video = info_of(frame)
    assert video.colour.matrix == (matrix if matrix in (8, 12) else 2)
    assert normalised(frame, video).shape == (HEIGHT, WIDTH, 3)
    assert DecodedView(frame, video).overview(40)[0].shape[2] == 3
    assert luma_thumbnail(frame).shape == (27, 48)


def _weighted(red: float, blue: float) -> np.ndarray:
    """float (3, 3): R, G, B -> Y, Cb, Cr by the formula of H.273."""
    luma = np.array([red, 1 - red - blue, blue])
    return np.array([luma, (np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)])


_YCGCO = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])


@pytest.mark.parametrize("colour_range", [1, 2])
@pytest.mark.parametrize("name", ["yuv444p", "yuv444p12le", "yuv444p16be"])
@pytest.mark.parametrize(
    ("matrix", "primaries", "formula"),
    [
        (8, 1, _YCGCO),
        (12, 1, _weighted(0.2126, 0.0722)),
        (12, 9, _weighted(0.2627, 0.0593)),
        (12, 12, _weighted(0.2290, 0.0793)),  # Display P3
        (4, 2, _weighted(0.30, 0.11)),
        (7, 2, _weighted(0.212, 0.087)),
    ],
)
def test_matrices_that_swscale_does_not_know_are_read_by_their_formulas(matrix, primaries, formula, name, colour_range):
    unit = 1 << (samples_of(name).bits - 8)
    full = colour_range == 2
    top = 256 * unit - 1
    spans = [top] * 3 if full else [219 * unit] * 3 if matrix == 8 else [219 * unit, 224 * unit, 224 * unit]
    codes = bars.picture(WIDTH, HEIGHT) / 255 @ formula.T * spans + [0 if full else 16 * unit, 128 * unit, 128 * unit]
    samples = np.clip(np.rint(codes), 0, top).astype(np.uint8 if unit == 1 else ">u2" if name.endswith("be") else "<u2")
    frame = av.VideoFrame(WIDTH, HEIGHT, name)
    for number, plane in enumerate(frame.planes):
        rows = np.zeros((HEIGHT, plane.line_size), np.uint8)
        row = np.ascontiguousarray(samples[:, :, number]).view(np.uint8).reshape(HEIGHT, -1)
        rows[:, : row.shape[1]] = row
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range, frame.color_primaries = matrix, colour_range, primaries
    video = info_of(frame)
    wanted = bars.middles(bars.picture(WIDTH, HEIGHT))
    view = DecodedView(frame, video)
    for shown in (
        normalised(frame, video),
        view.overview(WIDTH)[0][:, :, ::-1],
        view.patch(WHOLE, WIDTH)[:HEIGHT, :, ::-1],
    ):
        assert bars.same_colours(bars.middles(shown), wanted, 3) is None


@pytest.mark.parametrize("matrix", ["bt2020c", "ictcp", "chroma-derived-c", "smpte2085"])
def test_a_matrix_that_is_more_than_a_matrix_is_refused(tmp_path, matrix):
    clip = tmp_path / "clip.mkv"
    ffmpeg(*picture(0.2), "-pix_fmt", "yuv420p10le", *x265(f"colormatrix={matrix}"), clip)
    with pytest.raises(MediaError) as refused:
        probe(clip, LIMITS)
    assert refused.value.code == "media.colour_unsupported"


@pytest.mark.parametrize(("primaries", "matrix"), [(1, 1), (2, 1), (6, 1), (9, 9)])
def test_rgb_becomes_yuv_by_the_matrix_of_its_primaries(primaries, matrix):
    frame = bars.frame_of("gbrp12le", WIDTH, HEIGHT)
    video = info_of(frame, colour=ColourTags(matrix=2, primaries=primaries, transfer=16, colour_range=2))
    native, seen = to_native(frame, video)
    assert (seen.colour.matrix, seen.colour.colour_range, seen.colour.transfer) == (matrix, 1, 16)
    wanted = bars.middles(bars.picture(WIDTH, HEIGHT))
    assert bars.worst(bars.middles(bars.shown_by_swscale(native, matrix, 1)), wanted) <= 3


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        ("yuv420p12le", ["its 12 bits per sample were reduced to 10"]),
        ("p016be", ["its 16 bits per sample were reduced to 10"]),
        ("yuv440p", ["its 4:4:0 chroma was resampled to 4:2:0"]),
        ("uyyvyy411", ["its 4:1:1 chroma was resampled to 4:2:0"]),
        ("yuv410p", ["its 4:1:0 chroma was resampled to 4:2:0"]),
        (
            "gbrp16le",
            [
                "its 16 bits per sample were reduced to 10",
                "its RGB colours were converted to YUV 4:4:4 with the BT.709 matrix",
            ],
        ),
        ("pal8", ["its palette colours were converted to YUV 4:4:4 with the BT.709 matrix"]),
        (
            "xyz12be",
            [
                "its 12 bits per sample were reduced to 10",
                "its XYZ colours were converted to YUV 4:4:4 with the BT.709 matrix",
            ],
        ),
        ("bayer_gbrg8", ["its sensor samples were converted to YUV 4:4:4 with the BT.709 matrix"]),
        ("gray16be", ["its 16 bits per sample were reduced to 10"]),
        ("nv12", []),
        ("yuva444p10le", []),
        ("yuv420p9be", []),
    ],
)
def test_what_a_conversion_loses_is_told(name, losses):
    assert list(conversion_losses(name, mezzanine_format(name, sideways=False), ColourTags())) == losses


@pytest.mark.parametrize(
    ("pixel_format", "codec", "suffix", "shown", "transparent"),
    [
        ("yuva420p", ("libvpx-vp9", "-cpu-used", "8"), ".webm", "yuv420p", True),  # a layer that the decoder leaves out
        ("yuv420p", ("libvpx-vp9", "-cpu-used", "8"), ".webm", "yuv420p", False),
        ("yuva444p10le", ("prores_ks", "-profile:v", "4"), ".mov", "yuva444p12le", True),
        ("argb", ("qtrle",), ".mov", "argb", True),
        ("rgb24", ("qtrle",), ".mov", "rgb24", False),
    ],
)
def test_transparency_is_seen_wherever_it_is_kept(tmp_path, pixel_format, codec, suffix, shown, transparent):
    clip = tmp_path / f"clip{suffix}"
    ffmpeg(*picture(0.1), "-pix_fmt", pixel_format, "-c:v", *codec, clip)
    video = probe(clip, LIMITS).video
    assert (video.pixel_format, video.transparent) == (shown, transparent)
    notes = _of_a_layer(probe(clip, LIMITS))
    assert bool(notes) == (transparent and shown == "yuv420p")
