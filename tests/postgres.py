"""A real PostgreSQL server from the Debian package, for the length of a test session."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

PASSWORD = "a-secret:that/nobody@sees"
START_TIMEOUT_S = 60.0


@dataclass
class Postgres:
    """A running server. Every test gets a database of its own."""

    port: int
    password: str

    def __post_init__(self):
        self._numbers = count(1)

    def url(self, name: str) -> str:
        from urllib.parse import quote

        return f"postgresql://postgres:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        import psycopg

        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def programs() -> Path | None:
    """The folder with initdb and postgres of the newest installed version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Starts a server on a free port of 127.0.0.1, in a folder of its own, as a user who is not root."""
    binaries = programs()
    if binaries is None:
        missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    identity = identity_of_server()
    folder = Path(tempfile.mkdtemp(prefix="faceflow-postgres-"))
    try:
        if "user" in identity:
            shutil.chown(folder, identity["user"], identity["group"])
        yield from _served(binaries, folder, identity)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def missing(what: str) -> None:
    """In CI everything is there; elsewhere the test is skipped and says why."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def identity_of_server() -> dict:
    """For `subprocess`: PostgreSQL does not run as root, whose place the package's user takes; otherwise nothing."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        missing("PostgreSQL does not run as root, and there is no user postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _served(binaries: Path, folder: Path, identity: dict) -> Iterator[Postgres]:
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if identity:
        shutil.chown(secret, identity["user"], identity["group"])
    data = folder / "data"
    made = subprocess.run(
        [
            binaries / "initdb",
            "--pgdata",
            data,
            "--username=postgres",
            "--auth=scram-sha-256",
            f"--pwfile={secret}",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": 100,
        "shared_buffers": "32MB",
    }
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                binaries / "postgres",
                "-D",
                data,
                *(part for name in settings for part in ("-c", f"{name}={settings[name]}")),
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **identity,
        )
        try:
            postgres = Postgres(port, PASSWORD)
            _wait(postgres, server, log)
            yield postgres
        finally:
            server.send_signal(signal.SIGQUIT)  # an immediate shutdown: nothing is written, the data go anyway
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(10)


def _wait(postgres: Postgres, server: subprocess.Popen, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert server.poll() is None, log.read_text()
        try:
            psycopg.connect(postgres.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
