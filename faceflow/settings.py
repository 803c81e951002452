"""Settings of the machine, not of a job: every one is a `FACEFLOW_<GROUP>__<NAME>` environment variable.

What belongs to one job (engine, quality, who into whom) lives in `faceflow.job`. What is here says where files lie,
how many threads work, which limits hold and how the program talks. Values that change the bytes of an output
(encoder threads) are fixed numbers and part of the cache key, never the core count.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from faceflow.errors import JobError
from faceflow.setting_errors import NamedSource, setting_error
from faceflow.setting_group import Group, Names, Place
from faceflow.zones import Zone


def _base_directory(variable: str, fallback: str) -> Path:
    """A folder of the user's by the XDG rules, which pass over paths that are not absolute."""
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else _home() / fallback) / "faceflow"


def _home() -> Path:
    """The user's folder. One that HOME names by a relative path would be another one in each process."""
    home = Path(os.environ.get("HOME", ""))
    if home.is_absolute():
        return home
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise JobError(
            "job.home_missing",
            "This user has no home folder for job records and temporary files.",
            "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders that you can write to, or set HOME.",
        ) from error


class PathSettings(Group):
    """Where faceflow keeps its own files."""

    state: Place = Field(default_factory=lambda: _base_directory("XDG_STATE_HOME", ".local/state"))
    """Job records and the local Prefect server's database. Survives reboots."""
    scratch: Place = Field(default_factory=lambda: _base_directory("XDG_CACHE_HOME", ".cache"))
    """Working files of running and interrupted jobs: mezzanines, faces files, parts. Needs space, can be emptied."""


class LimitSettings(Group):
    """Limits for inputs. Exceeding one is an error with its own code."""

    max_size_bytes: int = Field(default=8 * 2**30, ge=1)
    """Largest target file, bytes. Default 8 GiB."""
    max_duration_s: float = Field(default=4 * 3600.0, gt=0)
    """Longest target, seconds. Default four hours."""
    max_frames: int = Field(default=1_000_000, ge=1)
    """Most frames in a target: a four-hour clip at 60 frames per second fits."""
    max_side_px: int = Field(default=8192, ge=16)
    """Longest side of a video or picture, pixels (8K)."""
    max_picture_pixels: int = Field(default=64_000_000, ge=1)
    """Most pixels in a picture; guards against decompression bombs."""
    min_side_px: int = Field(default=16, ge=1)
    """Shortest side of a target, pixels."""
    min_face_px: int = Field(default=24, ge=8)
    """Smallest face that counts as usable in a portrait, height in pixels."""
    probe_timeout_s: float = Field(default=30.0, gt=0, le=86_400)
    """Longest time for reading headers, seconds."""


class EncodeSettings(Group):
    """Threads of the encoders. Different counts give different bytes, so these are part of the cache key.

    faceflow uses the cores by rendering several segments at once (`pipeline.segments_in_flight`), not by more threads
    here.
    """

    threads: int = Field(default=1, ge=1, le=64)
    """Frame threads of x264/x265. With more than one, x264 gave different bytes in about 1 of 100 encodes of a small
    clip on a busy machine, so resuming is only byte-exact with 1."""
    lookahead_threads: int = Field(default=1, ge=1, le=16)
    """Lookahead threads of x264."""


class PipelineSettings(Group):
    """How a job is processed."""

    segments_in_flight: int = Field(default=2, ge=1, le=64)
    """Segments rendered at once in one process. Limits memory and scratch."""
    context_frames: int = Field(default=23, ge=0, le=120)
    """Frames that a segment reads beyond either border: 15 until the next detection, 3 for gaps and 5 for smoothing.
    With fewer, a face may shift by a fraction of a pixel when a clip is cut into different segments."""
    decode_threads: int = Field(default=1, ge=1, le=64)
    """Threads of one decoder. Does not change the pictures."""
    keep_free_bytes: int = Field(default=512 * 2**20, ge=0)
    """Space that must stay free on the scratch and output disks, bytes; with less, the job fails with
    `fault.disk_full`."""
    keep_interrupted_s: float = Field(default=7 * 86400.0, ge=0)
    """How long the files of an interrupted job are kept for resuming before a later job removes them, seconds."""
    shard_s: float = Field(default=30.0, ge=0)
    """Smallest estimated work of a shard, seconds on its pool: starting one takes seconds, too."""
    shard_start_s: float = Field(default=30.0, ge=0)
    """How long a shard may take to start, seconds, before an idle coordinator takes it back; longer if its work takes
    longer. Pools that have to rent machines first need more."""


class EngineSettings(Group):
    """How published networks are run. The embedded engines need none of this."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """The execution provider for the networks. If it is not available, the job fails at its start; faceflow never
    silently uses another one."""
    device_id: int = Field(default=0, ge=0)
    """The GPU to use, as numbered by CUDA."""
    threads: int = Field(default=0, ge=0, le=256)
    """Threads inside one operation of a network on the CPU; 0: the process's cores, by affinity and limits."""
    parallel_operations: int = Field(default=1, ge=1, le=64)
    """Operations of one network that run in parallel on the CPU."""
    memory_limit_bytes: int = Field(default=0, ge=0)
    """The most memory that the networks may use for their work on the device, bytes; 0 sets no limit."""
    fp16: bool = True
    """Whether TensorRT may compute in half precision."""
    batch: int = Field(default=0, ge=0, le=64)
    """Faces that a network processes at once; 0 means 1 on the CPU, where more gains nothing, and 4 elsewhere."""
    compiled: Place | None = None
    """Folder for TensorRT's compiled networks and timings. Default: `engines` in the scratch folder."""

    @property
    def faces_at_once(self) -> int:
        """`batch`, or what is best for the provider."""
        return self.batch or (1 if self.provider == "cpu" else 4)


class TrustSettings(Group):
    """Legal requirements."""

    accept_declared_consent: bool = True
    """Whether an operator's own declaration counts as a consent record. Companies set this to false."""
    carry_place: Literal["public", "always", "never"] = "public"
    """Whether an output keeps the location of its target (GPS coordinates, names of places). `public`: only outputs of
    public jobs keep it."""


class PoolSettings(Group):
    """The pool of this process; the zone check at the start of every flow reads it."""

    name: str = "local"
    """Name of the work pool that this process belongs to."""
    zone: Zone = Zone.PRIVATE
    """Trust zone of this machine: `isolated`, `private` or `public`."""


class ModelSettings(Group):
    """Published network weights: their folder, their sources, and the accepted licences."""

    folder: Place | None = None
    """Folder of the model files, which many processes and machines may share. Default `models` in the state folder."""
    extra: Place | None = None
    """Your own catalogue file (TOML) in addition to the built-in one; its entries replace built-in ones of the same
    name."""
    mirror: str = ""
    """Tried before any public source: a folder, `http(s)://host/path` or `s3://bucket/prefix`, laid out like the models
    folder (`<model>/<file>`). S3 keys and endpoint come from the usual `AWS_` variables."""
    offline: bool = False
    """Whether to use a mirror folder only; a missing file is then an immediate error."""
    commercial: bool = False
    """Whether this is a commercial deployment: faceflow then refuses models whose licence does not clearly allow it."""
    accepted_licences: Names = ()
    """Licences accepted for non-commercial use, by the names in `faceflow models list`, separated by commas."""
    parallel: int = Field(default=3, ge=1, le=16)
    """Files that are downloaded at once."""
    silence_s: float = Field(default=30.0, gt=0, le=86_400)
    """Longest silence of a source before it counts as unreachable, seconds."""
    attempts: int = Field(default=5, ge=1, le=20)
    """Attempts per source if it fails temporarily, with growing pauses."""
    pools: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The models that each work pool needs, as JSON: `{"gpu": ["inswapper_128", "gfpgan_1.4"]}`."""


class LogSettings(Group):
    """Log output."""

    format: Literal["human", "json"] = "human"
    """`json`: one object per line on standard error, with timestamp, task_id, event, model, input_size, gpu_used."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest severity that is written."""


class SwapSettings(BaseSettings):
    """The settings that a face swap needs, whatever orders it. Programs read them with those of the other rooms."""

    model_config = SettingsConfigDict(
        env_prefix="FACEFLOW_", env_nested_delimiter="__", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    paths: PathSettings = Field(default_factory=PathSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    encode: EncodeSettings = Field(default_factory=EncodeSettings)
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    trust: TrustSettings = Field(default_factory=TrustSettings)
    pool: PoolSettings = Field(default_factory=PoolSettings)
    models: ModelSettings = Field(default_factory=ModelSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed goes before the environment; nothing else is read."""
        return init_settings, NamedSource(settings_cls)

    @property
    def models_folder(self) -> Path:
        """Where model files lie."""
        return self.models.folder or self.paths.state / "models"


SettingsT = TypeVar("SettingsT", bound=SwapSettings)


def read_settings(kind: type[SettingsT]) -> SettingsT:
    """Settings of the given kind from the environment of this process.

    Raises:
        JobError: `job.settings_invalid`, naming the variable and what is wrong with it.
    """
    try:
        return kind()
    except (ValidationError, SettingsError) as error:
        raise setting_error(error, "FACEFLOW_") from error
