"""Writes what an image is made of as CycloneDX: sbom.py PYTHON OUTPUT, run inside it while it is built.

The Python packages, their licences and who needs whom are told by cyclonedx-bom; the packages of the distribution are
added from dpkg's own list.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

DPKG_FIELDS = "${Package}\t${Version}\t${Architecture}\t${source:Package}\t${db:Status-Status}\n"


def main(python: str, output: Path) -> None:
    """Makes the file; raises where the result is not valid CycloneDX."""
    tool = Path(sys.executable).with_name("cyclonedx-py")
    made = subprocess.run(
        [tool, "environment", "--output-format", "JSON", "--spec-version", "1.6", "--output-reproducible", python],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    document = json.loads(made.stdout)
    document["components"] += debian_components()
    text = json.dumps(document, indent=1)
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise SystemExit(f"not valid CycloneDX: {fault!r}")
    output.write_text(text)
    print(f"{len(document['components'])} parts in {output}")


def debian_components() -> list[dict[str, object]]:
    """Every installed package of the distribution as a component."""
    distribution = platform.freedesktop_os_release()
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={DPKG_FIELDS}"], check=True, stdout=subprocess.PIPE, text=True
    )
    components: list[dict[str, object]] = []
    for line in listed.stdout.splitlines():
        name, version, architecture, source, status = line.split("\t")
        if status != "installed":
            continue
        place = f"{distribution['ID']}-{distribution['VERSION_ID']}"
        address = f"pkg:deb/{distribution['ID']}/{quote(name)}@{quote(version)}?arch={architecture}&distro={place}"
        components.append(
            {
                "type": "library",
                "bom-ref": address,
                "name": name,
                "version": version,
                "purl": address,
                "properties": [{"name": "dpkg:source", "value": source}],
            }
        )
    return components


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
