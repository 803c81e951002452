"""The files by which leases and the keeper know each other, all in `<state>/server/`.

`lease.lock` is held shared by every user of the server; `start.lock` exclusively by the one command that is starting a
keeper, `up.lock` by the one `faceflow up`; `server.json` says where the server answers and which processes are whose;
`server.log` is what it printed.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from faceflow.errors import ResourceError
from faceflow.job import FrozenModel
from faceflow.own_files import read_own


class ServerRecord(FrozenModel):
    """A server that a keeper has started.

    `keeper_started_ticks` is the keeper's start time from /proc, so that a reused pid is not taken for it.
    """

    api_url: str
    ui_url: str
    keeper_pid: int
    keeper_started_ticks: int
    server_pid: int
    prefect_version: str


class ServerFiles:
    """Paths of the files, and reading and writing of the record."""

    def __init__(self, state: Path) -> None:
        self.directory = state / "server"
        self.lease_lock = self.directory / "lease.lock"
        self.start_lock = self.directory / "start.lock"
        self.up_lock = self.directory / "up.lock"
        self.record = self.directory / "server.json"
        self.log = self.directory / "server.log"
        self.database = self.directory / "prefect.db"

    def create(self) -> None:
        """Makes the folder, readable by its owner only: the database holds job parameters."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                "fault.scratch_unusable",
                f"The folder {str(error.filename)!r} cannot be created: {error.strerror}.",
                "Set FACEFLOW_PATHS__STATE and FACEFLOW_PATHS__SCRATCH to folders that you can write to.",
            ) from error

    def write(self, record: ServerRecord) -> None:
        """Publishes the record in one step."""
        temporary = self.record.with_suffix(".tmp")
        temporary.write_text(record.model_dump_json(indent=2))
        temporary.replace(self.record)

    def read(self) -> ServerRecord | None:
        """The record of a server whose keeper is alive, else None."""
        try:
            record = ServerRecord.model_validate_json(read_own(self.record))
        except (OSError, ValidationError):
            return None
        return record if process_started_ticks(record.keeper_pid) == record.keeper_started_ticks else None


def process_started_ticks(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot (field 22 of /proc/PID/stat), None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has spent, seconds (fields 14 and 15 of /proc/PID/stat); 0 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def listens(api_url: str) -> bool:
    """Whether something takes connections where `api_url` points, on this machine."""
    address = urlsplit(api_url)
    try:
        with socket.create_connection((address.hostname, address.port or 80), timeout=1.0):
            return True
    except OSError:
        return False


def own_started_ticks() -> int:
    """Start time of this process, see `process_started_ticks`."""
    ticks = process_started_ticks(os.getpid())
    if ticks is None:  # pragma: no branch - a live process has an entry
        raise ProcessLookupError("this process has no entry in /proc")
    return ticks
