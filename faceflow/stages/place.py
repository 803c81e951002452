"""Where a target was taken: whether its output says so too, and the note for the user if it does not.

Coordinates help an archive to find a recording, and strangers to find a home. So outputs of public jobs carry them as
they carry every other tag, and those of private and restricted jobs do not, unless the settings say otherwise.
"""

from __future__ import annotations

from faceflow.job import Sensitivity, SwapJob
from faceflow.settings import TrustSettings

SETTING = "FACEFLOW_TRUST__CARRY_PLACE"


def carries_place(job: SwapJob, trust: TrustSettings) -> bool:
    """Whether the output of `job` may say where its target was taken."""
    if trust.carry_place == "public":
        return job.sensitivity is Sensitivity.PUBLIC
    return trust.carry_place == "always"


def place_note(job: SwapJob, trust: TrustSettings) -> str | None:
    """The note for the user if there is a place that is not carried; None otherwise."""
    if carries_place(job, trust):
        return None
    why = f"the job is {job.sensitivity}" if trust.carry_place == "public" else f"{SETTING} is {trust.carry_place}"
    return f"the location where it was taken was left out, because {why}; set {SETTING}=always to keep it"
