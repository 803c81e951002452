"""What stands in for the images `postgres:15` and `redis:7`: Debian's programs, started as the images' entrypoints do.

PostgreSQL: the first start makes PGDATA with the user, password and database of the variables, then runs the SQL files
of /docker-entrypoint-initdb.d on a server that answers on its socket only. SIGTERM ends it as the image's stop signal
does. Both listen on the pod's address in place of all. Whoever comes over TCP shows the password: all addresses here
are loopback, which the image trusts. Left out are scripts and compressed files of that folder, and waiting for the
disk, which outlives every process here.

In a container: `python -m tests.cloud.store_images postgresql|redis [COMMAND...]`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from faceflow.infrastructure.machine.server.server_keeper import die_with_parent
from tests.postgres import identity_of_server, programs

LISTEN, INITDB, SOCKETS, DATA = "STAND_IN_LISTEN", "STAND_IN_INITDB", "STAND_IN_SOCKETS", "STAND_IN_DATA"
_VARIABLES = {
    "postgresql": {LISTEN: "0.0.0.0", INITDB: "/docker-entrypoint-initdb.d", SOCKETS: "/var/run/postgresql"},
    "redis": {LISTEN: "0.0.0.0", DATA: "/data"},
}
_IMAGES = {"postgres:15": "postgresql", "redis:7": "redis"}
START_TIMEOUT_S = 60.0


def entrypoint(image: str) -> list[str]:
    """Of an image that is not faceflow's; empty for faceflow's, whose programs are on the PATH."""
    return [sys.executable, "-m", "tests.cloud.store_images", _IMAGES[image]] if image in _IMAGES else []


def fixed_variables(image: str) -> dict[str, str]:
    """Addresses and folders that an image has built in, as variables, so that they become those of this machine."""
    return dict(_VARIABLES[_IMAGES[image]]) if image in _IMAGES else {}


class PostgresImage:
    """The entrypoint of `postgres:15`."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None, "PostgreSQL is not installed"
        self._programs = found
        self._data, self._sockets = Path(os.environ["PGDATA"]), Path(os.environ[SOCKETS])
        self._identity = identity_of_server()

    def serve(self) -> int:
        """Until SIGTERM; gives the exit code."""
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._data, self._sockets):
            self._give(folder)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        server = self._start(os.environ[LISTEN])
        signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
        return server.wait()

    def _initialise(self) -> None:
        user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
        with tempfile.NamedTemporaryFile("w", dir=self._sockets) as password:
            password.write(os.environ["POSTGRES_PASSWORD"])
            password.flush()
            self._give(Path(password.name))
            command = [
                self._programs / "initdb", "-D", self._data, "-U", user, f"--pwfile={password.name}",
                "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync",
            ]  # fmt: skip
            subprocess.run(command, cwd=self._data, check=True, **self._identity)
        server = self._start("")
        query: list[str | Path] = [
            self._programs / "psql",
            "-v",
            "ON_ERROR_STOP=1",
            "--no-psqlrc",
            "-h",
            self._sockets,
            "-U",
            user,
        ]
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run([self._programs / "pg_isready", "-q", "-h", self._sockets], check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("PostgreSQL does not start")
            time.sleep(0.05)
        subprocess.run([*query, "-d", "postgres", "-c", f'CREATE DATABASE "{database}"'], check=True)
        for file in sorted(Path(os.environ[INITDB]).glob("*.sql")):
            subprocess.run([*query, "-d", database, "-f", file], check=True)
        server.send_signal(signal.SIGINT)
        server.wait(START_TIMEOUT_S)

    def _start(self, address: str) -> subprocess.Popen[Any]:
        settings = {
            "listen_addresses": address, "unix_socket_directories": self._sockets, "fsync": "off",
            "shared_buffers": "32MB", "dynamic_shared_memory_type": "mmap",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._data, *options]
        return subprocess.Popen(command, cwd=self._data, preexec_fn=die_with_parent(), **self._identity)

    def _give(self, path: Path) -> None:
        if self._identity:
            shutil.chown(path, self._identity["user"], self._identity["group"])


def serve_redis(command: list[str]) -> NoReturn:
    """Becomes the server."""
    os.execvp(command[0], [*command, "--bind", os.environ[LISTEN], "--dir", os.environ[DATA]])


if __name__ == "__main__":
    kind, *command = sys.argv[1:]
    if kind == "redis":
        serve_redis(command)
    sys.exit(PostgresImage().serve())
