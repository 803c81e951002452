"""One video through all that opens an untrusted file: probe and index, and some of those that pass to the output."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from faceflow.errors import FaceflowError
from faceflow.media.facts import FrameIndex, MediaInfo
from faceflow.media.index import index_frames
from faceflow.media.join import join
from faceflow.media.plan import plan_segments
from faceflow.media.probe import probe
from faceflow.media.reader import FrameReader, read_decoded
from faceflow.media.transcode import transcode, transcode_reasons
from faceflow.media.writer import PartWriter
from faceflow.settings import EncodeSettings, LimitSettings
from tests.fuzz.bases import CONTAINERS, make_bases
from tests.fuzz.mutate import case
from tests.media.pipeline import ENCODING

LIMITS = LimitSettings(max_side_px=1024, max_frames=5_000)
"""A picture within the limits may be large; with these, none takes long to make, so that what does is a fault."""
_ENCODE = EncodeSettings(threads=1)
_CARRIED_OF = 4
"""One in so many of those that pass is encoded and joined too: that takes ten times as long."""
_OUTPUTS = (".mp4", ".mkv", ".mov")

prepare = make_bases


def names() -> tuple[str, ...]:
    """The containers that there are cases of."""
    return tuple(CONTAINERS)


def made(bases: Path, container: str, seed: int, number: int) -> tuple[str, bytes]:
    """The ending and the bytes of a case."""
    return CONTAINERS[container].suffix, case(bases, container, seed, number)


def attempt(path: Path, number: int) -> str:
    """Takes a video as far as it goes; says how far, or the code with which it ended.

    Raises:
        AssertionError: something came out that cannot be right.
    """
    try:
        media = probe(path, LIMITS)
        _survives_the_wire(media)
        index = index_frames(path, media, LIMITS)
    except FaceflowError as error:
        return _code(error)
    _is_in_order(index)
    again = index_frames(path, probe(path, LIMITS), LIMITS)
    assert np.array_equal(index.pts, again.pts) and np.array_equal(index.key, again.key), "two indexes differ"
    if number % _CARRIED_OF:
        return "index"
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        return _carried(path, media, index, Path(folder), number)


def _carried(path: Path, media: MediaInfo, index: FrameIndex, folder: Path, number: int) -> str:
    index.save(folder / "index.npz")
    loaded = FrameIndex.load(folder / "index.npz")
    assert np.array_equal(loaded.pts, index.pts) and loaded.time_base == index.time_base
    try:
        middle = index.frames // 2
        numbers = [number for number, _ in read_decoded(path, media, index, middle, index.frames - middle)]
        assert numbers == list(range(middle, index.frames)), "other frames than asked for"
        source, first_media, first_index = path, media, index
        if transcode_reasons(media, index, ENCODING):
            path = folder / "mezzanine.mp4"
            media, index = transcode(source, first_media, first_index, ENCODING, _ENCODE, path)
        parts = []
        for segment in plan_segments(index, segment_s=0.3, context_frames=4, cuts=()):
            parts.append(folder / f"part{segment.number}.mp4")
            reader = FrameReader(path, media, index)
            with reader, PartWriter(parts[-1], media, index, ENCODING, _ENCODE) as writer:
                for frame in reader.read(segment.first, segment.frames):
                    writer.write(frame)
        join(parts, source, first_media, index, folder / f"joined{_OUTPUTS[number // _CARRIED_OF % len(_OUTPUTS)]}")
    except FaceflowError as error:
        return _code(error)
    return "result"


def _code(error: FaceflowError) -> str:
    assert error.message and error.resolution, "an error without words"
    assert not error.code.startswith("fault."), f"{error.code}: {error.message}"
    error.to_dict()
    return error.code


def _survives_the_wire(media: MediaInfo) -> None:
    """Stages hand it on as JSON."""
    assert MediaInfo.model_validate_json(media.model_dump_json()) == media, "what is known of it changes as JSON"


def _is_in_order(index: FrameIndex) -> None:
    assert index.frames > 0, "no frames"
    assert len(index.durations) == len(index.key) == index.frames, "columns of different lengths"
    assert bool(np.all(np.diff(index.pts) > 0)), "times do not increase"
    assert bool(np.all(index.durations > 0)), "a frame that lasts no time"
    assert index.time_base > 0, "a clock that does not run forwards"
