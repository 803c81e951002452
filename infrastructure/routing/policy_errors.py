"""What is wrong with the texts that say where work runs."""

from __future__ import annotations

from faceflow.errors import InputError


class PolicyError(InputError):
    """Routing rules, a list of pools or what they are tried on cannot be used."""

    family = "policy"
