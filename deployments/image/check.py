"""Runs the container image as a cluster does and swaps the demo's face inside: check.py [IMAGE]

As user 1000, with a read-only root file system, without capabilities, privileges and network; only /state and
/scratch can be written. Prints one JSON object with what was found and how long it took. Exit code 1 where something
is not as it must be. Needs podman (or docker), and the environment of `make setup` for the demo's portrait and clip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMIT_S = 900
_ENDED_BY_SIGTERM = (0, 1, 143)


def main(image: str) -> int:
    """Does all checks; the first that fails ends the program."""
    engine = shutil.which("podman") or shutil.which("docker")
    if engine is None:
        print("check.py: neither podman nor docker is installed", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="faceflow-image-") as folder:
        results = Checks(engine, image, Path(folder)).all()
    print(json.dumps(results, indent=1))
    return 0


class Checks:
    """What is looked at, one method each."""

    def __init__(self, engine: str, image: str, folder: Path) -> None:
        self.engine, self.image, self.folder = engine, image, folder

    def all(self) -> dict[str, Any]:
        """Every check, by name."""
        checks = (self.labels, self.read_only, self.parts, self.health, self.swap, self.signal)
        results: dict[str, Any] = {"image": self.image}
        for check in checks:
            print(f"==> {check.__name__}", file=sys.stderr, flush=True)
            results[check.__name__] = check()
            print(f"    {results[check.__name__]}", file=sys.stderr, flush=True)
        return results

    def labels(self) -> dict[str, Any]:
        """Size and description; user, entry point and health check are what they must be."""
        facts = json.loads(self._engine("image", "inspect", self.image).stdout)[0]
        config = facts["Config"]
        require(config["User"] == "1000:1000", "the user is not 1000:1000")
        require(config["Entrypoint"] == ["/usr/bin/tini", "--"], "the entry point is not tini")
        require("Healthcheck" in config or "Healthcheck" in facts, "there is no health check")
        labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items() if "opencontainers" in key}
        for name in ("version", "revision", "licenses"):
            require(labels.get(name), f"the label {name} is empty")
        return {"size_bytes": facts["Size"], "layers": len(facts["RootFS"]["Layers"]), **labels}

    def read_only(self) -> dict[str, Any]:
        """Who runs it, and that nothing but the mounts can be written."""
        script = """id -u; id -g
for folder in / /opt/faceflow /usr /home /models /state /scratch; do
    if touch $folder/.probe 2>/dev/null; then echo can $folder; else echo cannot $folder; fi
done
grep -c CapEff:.0000000000000000 /proc/self/status
find / -xdev -name '*.onnx' -size +100k 2>/dev/null || true"""
        lines = self._run("sh", "-c", script).stdout.split("\n")
        require(lines[:2] == ["1000", "1000"], f"it runs as {lines[:2]}")
        writable = [line.split()[1] for line in lines if line.startswith("can ")]
        require(writable == ["/state", "/scratch"], f"can be written: {writable}")
        require(lines[9] == "1", "it has capabilities")
        require(not [line for line in lines[10:] if line], f"networks inside: {lines[10:]}")
        return {"writable": writable}

    def parts(self) -> dict[str, Any]:
        """The list of parts, taken out of the image."""
        document = json.loads(self._run("cat", "/usr/share/faceflow/sbom.cdx.json").stdout)
        kinds = [part.get("purl", "").partition("/")[0] for part in document["components"]]
        names = {part["name"] for part in document["components"]}
        require({"prefect", "av", "faceflow", "tini", "python3"} <= names, "parts are missing from the list")
        return {"format": f"CycloneDX {document['specVersion']}", "python": kinds.count("pkg:pypi"),
                "distribution": kinds.count("pkg:deb")}  # fmt: skip

    def health(self) -> dict[str, Any]:
        """The health check's command tells the truth: good as it is, bad without room."""
        begun = time.monotonic()
        self._run("faceflow", "doctor", "--alive")
        seconds = time.monotonic() - begun
        full = self._run(
            "faceflow",
            "doctor",
            "--alive",
            options=["--env", f"FACEFLOW_PIPELINE__KEEP_FREE_BYTES={2**60}"],
            good=False,
        )
        require(full.returncode == 1, "a full disk counts as healthy")
        return {"seconds": round(seconds, 1)}

    def swap(self) -> dict[str, Any]:
        """A whole job: portrait and clip of the demo, read-only; the output is looked at from outside."""
        sys.path.insert(0, str(ROOT))
        from faceflow.gateway.cli.demo import _astronaut, _carphone

        given, out = self.folder / "in", self.folder / "out"
        given.mkdir()
        out.mkdir()
        out.chmod(0o777)
        shutil.copyfile(_astronaut(), given / "portrait.png")
        shutil.copyfile(_carphone(), given / "clip.mp4")
        command = self._command(
            ["--volume", f"{given}:/in:ro", "--volume", f"{out}:/out"],
            ["faceflow", "swap", "/in/portrait.png", "/in/clip.mp4", "-o", "/out/swapped.mp4", "--json"],
        )
        begun = time.monotonic()
        first_line_s = 0.0
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None  # noqa: S101 - narrows Popen's type
            assert process.stdout is not None  # noqa: S101
            said = []
            for line in process.stderr:
                said.append(line)
                if not first_line_s and line.startswith('{"') and '"timestamp"' in line:
                    first_line_s = time.monotonic() - begun
            answer = process.stdout.read()
        require(process.returncode == 0, f"the job failed: {answer} {''.join(said)[-3000:]}")
        record = json.loads(answer.splitlines()[-1])
        require(record["frames"] == 120 and record["faces"] > 100, f"not every frame was swapped: {record}")
        require((out / "swapped.mp4").stat().st_size == record["size_bytes"], "the output is not what the record says")
        owner = (out / "swapped.mp4").stat().st_uid
        keep = os.environ.get("KEEP_OUTPUT")
        if keep:
            shutil.copyfile(out / "swapped.mp4", keep)
        return {"first_log_line_s": round(first_line_s, 1), "whole_s": round(time.monotonic() - begun, 1),
                "job_s": record["seconds"], "frames": record["frames"], "faces": record["faces"], "owner": owner,
                "sha256": record["sha256"]}  # fmt: skip

    def signal(self) -> dict[str, Any]:
        """`faceflow up` in it ends by itself when the container is told to stop."""
        name = f"faceflow-check-{os.getpid()}"
        self._engine(*self._command(["--detach", "--name", name], ["faceflow", "up"])[1:])
        try:
            deadline = time.monotonic() + LIMIT_S
            while "up.ready" not in (log := self._logs(name)):
                require(time.monotonic() < deadline, f"faceflow up does not come up: {log[-3000:]}")
                time.sleep(0.5)
            healthy = self._engine("exec", name, "faceflow", "doctor", "--alive").stdout
            require("worker" in healthy, f"the health check does not see the worker: {healthy}")
            begun = time.monotonic()
            self._engine("stop", "--time", "60", name)
            seconds = time.monotonic() - begun
            require("up.stopped" in self._logs(name), "SIGTERM did not reach the program")
            code = json.loads(self._engine("inspect", name).stdout)[0]["State"]["ExitCode"]
            require(code in _ENDED_BY_SIGTERM, f"it ended with {code}")
            require(seconds < 60, "it had to be killed")
        finally:
            self._engine("rm", "--force", name)
        return {"stopped_after_s": round(seconds, 1), "exit_code": code}

    def _logs(self, name: str) -> str:
        shown = subprocess.run([self.engine, "logs", name], capture_output=True, text=True, check=False)
        return shown.stdout + shown.stderr

    def _command(self, options: list[str], program: list[str]) -> list[str]:
        closed = ["--user", "1000:1000", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        closed += [
            "--network",
            "none",
            "--no-healthcheck",
            "--tmpfs",
            "/state:rw,mode=1777",
            "--tmpfs",
            "/scratch:rw,mode=1777",
        ]
        if Path(self.engine).name == "podman":
            closed += ["--read-only-tmpfs=false"]  # it would make /tmp writable
        kept = [] if "--detach" in options else ["--rm"]
        return [self.engine, "run", *kept, *closed, *options, self.image, *program]

    def _run(
        self, *program: str, options: list[str] | None = None, good: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = self._command(options or [], list(program))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        require(done.returncode == 0 or not good, f"{' '.join(program)}: {done.stdout}{done.stderr}")
        return done

    def _engine(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([self.engine, *arguments], capture_output=True, text=True, check=False, timeout=LIMIT_S)
        require(done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}")
        return done


def require(condition: object, otherwise: str) -> None:
    """Ends the program where something is not as it must be."""
    if not condition:
        raise SystemExit(f"check.py: {otherwise}")


def built() -> str:
    """The image that `make image` makes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return f"faceflow:{version}-{os.environ.get('IMAGE_TARGET') or 'cpu'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else built()))
