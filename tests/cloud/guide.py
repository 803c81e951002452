"""The install guide as a script: the shell blocks of docs/deploying.md, with values for what is to be filled in.

Nothing is typed here that the guide does not say; a command that it lacks, the walk lacks too.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

GUIDE = ROOT / "docs/deploying.md"
PATIENCE_S = 400.0


def blocks(heading: str, language: str = "sh") -> list[str]:
    """The blocks of a language, shell or another, between a heading and the next of any level, in their order."""
    [_, section] = GUIDE.read_text().split(f"\n{heading}\n")
    section = re.split(r"^#+ ", section.replace("\n# ", "\n\0 "), maxsplit=1, flags=re.MULTILINE)[0].replace("\0", "#")
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


@dataclass
class Operator:
    """Someone with a shell in a folder that holds `values.yaml`, `pools.yaml`, `rules.yaml` and the repository.

    Attributes:
        environment: of the shell.
        answers: what stands for each placeholder of the guide.
    """

    folder: Path
    environment: dict[str, str]
    answers: dict[str, str]

    def follow(self, block: str, more: Mapping[str, str] | None = None) -> str:
        """Runs a block of the guide; gives what it said."""
        for placeholder, answer in {**(more or {}), **self.answers}.items():
            block = block.replace(placeholder, answer)
        left = re.findall(r"\b[A-Z]{4,}(?=[@:/.]|$)", block)
        assert not left, f"the test has no value for {left}"
        return self.run(block)

    def run(self, script: str, *, fails: bool = False) -> str:
        """Runs a script with bash; gives what it said."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, f"{script}\n{done.stdout}"
        return done.stdout
