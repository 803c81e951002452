"""The words in which damaged, protected and oversized media are refused, shared by probe and index."""

from __future__ import annotations

from pathlib import Path

from faceflow.errors import MediaError
from faceflow.settings import LimitSettings


def encrypted(path: Path) -> MediaError:
    """`media.encrypted`: protected media."""
    return MediaError(
        "media.encrypted", f"{path} is encrypted (DRM).", "Use a copy of the video without copy protection."
    )


def codec_form_unsupported(path: Path, name: str) -> MediaError:
    """`media.codec_unsupported`: a codec that is read, in a form (sampling, depth, version) that is not."""
    return MediaError(
        "media.codec_unsupported",
        f"{path} uses a variant of the video codec {name} that is not supported.",
        "Convert the video to H.264, HEVC, VP9 or AV1 in 4:2:0 first.",
        codec=name,
    )


def corrupt(path: Path, what: str) -> MediaError:
    """`media.corrupt`: a damaged file; `what` completes the sentence."""
    return MediaError(
        "media.corrupt", f"{path} is damaged: {what}.", "Export or download the video again.", reason=what
    )


def truncated(path: Path, what: str) -> MediaError:
    """`media.truncated`: a file whose end is missing; `what` completes the sentence."""
    return MediaError(
        "media.truncated",
        f"{path} is cut off: {what}.",
        "Copy or download the file again; part of it is missing.",
        reason=what,
    )


def changed(path: Path) -> MediaError:
    """`media.changed`: another content than the one that was validated."""
    return MediaError(
        "media.changed",
        f"{path} changed while the job was working on it.",
        "Do not change the file until the job has ended, and run the same command again.",
    )


def joined_files(path: Path) -> MediaError:
    """`media.joined_files`: another file begins where the first one ends."""
    return MediaError(
        "media.joined_files",
        f"{path} consists of several files one after another; all but the first would be lost.",
        "Process the files one by one, or join them into one file with a video editor.",
    )


def timed_out(path: Path) -> MediaError:
    """`media.timeout`: reading took too long."""
    return MediaError(
        "media.timeout",
        f"{path} took too long to read.",
        "Copy the file to a faster disk, or raise FACEFLOW_LIMITS__PROBE_TIMEOUT_S.",
    )


def clock_jumps(path: Path, at_s: float, by_s: float) -> MediaError:
    """`media.timestamps`: times that leave out, or go through again, most of what the file seems to last."""
    way = "ahead" if by_s > 0 else "back"
    return MediaError(
        "media.timestamps",
        f"The clock of {path} jumps {way} by {abs(by_s):.1f} s after {at_s:.1f} s.",
        "Cut the video there and process the pieces one by one, or convert it once with a video converter, so "
        "that its times are continuous.",
        at_s=at_s,
    )


def too_long(path: Path, duration_s: float, limits: LimitSettings) -> MediaError:
    """`media.too_long`: beyond the longest duration."""
    return MediaError(
        "media.too_long",
        f"{path} lasts {duration_s:.0f} s; the limit is {limits.max_duration_s:.0f} s.",
        "Cut the video into shorter pieces, or raise FACEFLOW_LIMITS__MAX_DURATION_S.",
        duration_s=duration_s,
    )


def too_many_frames(path: Path, limits: LimitSettings) -> MediaError:
    """`media.too_long`: more frames than are worked on in one job."""
    return MediaError(
        "media.too_long",
        f"{path} has more than {limits.max_frames} frames.",
        "Cut the video into shorter pieces, or raise FACEFLOW_LIMITS__MAX_FRAMES.",
    )


def check_picture_size(path: Path, width: int, height: int, limits: LimitSettings) -> None:
    """Refuses a picture size: `media.bad_dimensions`, `media.too_large_picture` or `media.too_small`."""
    facts = {"width_px": width, "height_px": height}
    if width <= 0 or height <= 0:
        raise MediaError(
            "media.bad_dimensions",
            f"{path} has a picture size of {width}x{height} pixels in its header.",
            "Export the video again, so that its header has a valid picture size.",
            **facts,
        )
    if max(width, height) > limits.max_side_px:
        raise MediaError(
            "media.too_large_picture",
            f"{path} is {width}x{height} pixels; no side may be longer than {limits.max_side_px}.",
            "Scale the video down, or raise FACEFLOW_LIMITS__MAX_SIDE_PX.",
            **facts,
        )
    if min(width, height) < limits.min_side_px:
        raise MediaError(
            "media.too_small",
            f"{path} is {width}x{height} pixels; no side may be shorter than {limits.min_side_px}.",
            "Use a larger video; faces cannot be found in such a small picture.",
            **facts,
        )
