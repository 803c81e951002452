"""No swap without a consent record (row T1): what a job must carry before a face is touched."""

from __future__ import annotations

from datetime import UTC, datetime

from faceflow.errors import TrustError
from faceflow.job import Consent, SwapJob
from faceflow.settings import TrustSettings


def require_consent(job: SwapJob, settings: TrustSettings, now: datetime | None = None) -> Consent:
    """The job's consent record, checked.

    Raises:
        TrustError: `trust.consent_missing`, `trust.consent_expired`, or `trust.consent_only_declared` where this
            installation wants the reference of a record rather than an operator's statement.
    """
    consent = job.consent
    if consent is None:
        raise TrustError(
            "trust.consent_missing",
            "The job has no consent record for the person whose face is used.",
            "State the person and the agreed use in `consent` (on the command line: --consent and "
            "--consent-reference).",
        )
    if consent.expires_at is not None and consent.expires_at <= (now or datetime.now(UTC)):
        raise TrustError(
            "trust.consent_expired",
            f"The consent of {consent.subject} ended at {consent.expires_at.isoformat()}.",
            "Obtain a new consent and use its record.",
        )
    if consent.reference is None and not (consent.declared_by and settings.accept_declared_consent):
        raise TrustError(
            "trust.consent_only_declared",
            "The consent has no record reference, which this installation requires."
            if consent.declared_by
            else "The consent names neither a record nor the operator who declares it.",
            "Enter the reference of the contract or record in `consent.reference`.",
        )
    return consent
