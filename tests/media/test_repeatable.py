"""The encoder's bytes do not depend on what memory held before: glibc can be told to fill it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.faces import face_clip

ENCODE = """
import hashlib, sys
from pathlib import Path
from faceflow.job import OutputOptions
from faceflow.media.index import index_frames
from faceflow.media.probe import probe
from faceflow.media.transcode import transcode
from faceflow.settings import EncodeSettings, LimitSettings
source, destination = map(Path, sys.argv[1:])
media = probe(source, LimitSettings())
index = index_frames(source, media, LimitSettings())
transcode(source, media, index, OutputOptions(max_long_side_px=160), EncodeSettings(), destination)
print(hashlib.sha256(destination.read_bytes()).hexdigest())
"""


def test_the_bytes_do_not_depend_on_what_memory_held(tmp_path):
    clip = face_clip(tmp_path / "clip.mp4", seconds=1, audio=False)
    said = set()
    for fill in ("0", "1", "170"):
        done = subprocess.run(
            [sys.executable, "-c", ENCODE, clip, tmp_path / f"{fill}.mp4"],
            env={**os.environ, "MALLOC_PERTURB_": fill}, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        said.add(done.stdout.splitlines()[-1])
    assert len(said) == 1


SHORT_PARTS = """
import hashlib, sys
from pathlib import Path
from faceflow.job import OutputOptions
from faceflow.media.writer import PartWriter
from tests.media.test_random_cuts import ENCODE, MEDIA, frames_of, index_of
for count in (1, 2, 3, 5):
    index = index_of(count)
    path = Path(sys.argv[1]) / f"{count}.mp4"
    with PartWriter(path, MEDIA[10], index, OutputOptions(preset="ultrafast"), ENCODE) as writer:
        for frame in frames_of(index, 1, 10):
            writer.write(frame)
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_parts_shorter_than_the_encoders_delay_are_timed_whatever_memory_held(tmp_path):
    said = set()
    for fill in ("0", "1", "85"):
        folder = tmp_path / fill
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SHORT_PARTS, folder],
            env={**os.environ, "MALLOC_PERTURB_": fill}, capture_output=True, text=True, check=True, timeout=60,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        said.add(tuple(done.stdout.splitlines()))
    assert len(said) == 1
