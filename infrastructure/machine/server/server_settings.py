"""Settings of the local Prefect server."""

from __future__ import annotations

from pydantic import Field

from faceflow.setting_group import Group
from faceflow.settings import SwapSettings


class ServerSettings(Group):
    """The local Prefect server that faceflow starts if `PREFECT_API_URL` is not set."""

    port: int = Field(default=4200, ge=1, le=65535)
    """TCP port on 127.0.0.1; if it is in use, faceflow uses another free one."""
    start_timeout_s: float = Field(default=120.0, gt=0, le=86_400)
    """Longest silence of a starting server, seconds: its log, its database and its CPU time do not change, or it
    listens but does not answer. A start takes 15 s to two minutes, depending on the load of the machine."""
    idle_s: float = Field(default=20.0, ge=0)
    """How long the server keeps running after its last user, seconds, so that the next command starts at once."""


class SettingsWithServer(SwapSettings):
    """Settings for using the local server."""

    server: ServerSettings = Field(default_factory=ServerSettings)
