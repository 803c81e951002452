"""Settings of the local Prefect server."""

from __future__ import annotations

from pydantic import Field

from faceflow.setting_group import Group
from faceflow.settings import SwapSettings


class ServerSettings(Group):
    """The local Prefect server that faceflow starts when `PREFECT_API_URL` names none."""

    port: int = Field(default=4200, ge=1, le=65535)
    """TCP port on 127.0.0.1; another free one is taken when it is in use."""
    start_timeout_s: float = Field(default=120.0, gt=0, le=86_400)
    """Longest silence of a server that is starting, seconds: its log, its database and its CPU time stand still, or it
    listens and does not answer. A start itself takes 15 s to two minutes, by how busy the machine is."""
    idle_s: float = Field(default=20.0, ge=0)
    """How long the server lives on after its last user ended, seconds, so that a next command starts at once."""


class SettingsWithServer(SwapSettings):
    """The settings of whoever uses the local server."""

    server: ServerSettings = Field(default_factory=ServerSettings)
