"""A decision in sentences: what a legal department, a customer or tomorrow's operator reads."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from faceflow.infrastructure.routing.decision import Action, Decision, Estimate, Placement, Way


def explain(decision: Decision, *, asked_only: bool = False) -> str:
    """The whole decision as a few paragraphs of plain text; `asked_only` where nobody acts on it."""
    paragraphs = [f"{_where(decision, 'would be' if asked_only else 'was')} {_by(decision)}", *decision.notes]
    if decision.placements:
        paragraphs.append(_expectation(decision))
    if decision.rejected:
        others = "; ".join(f"{rejection.pool}, because {rejection.reason}" for rejection in decision.rejected)
        paragraphs.append(f"Not chosen: {others}.")
    return "\n".join(paragraphs)


def _where(decision: Decision, was: str) -> str:
    batch = f", a batch of {decision.count} jobs" if decision.count > 1 else ""
    attempt = f", attempt {decision.attempt}" if decision.attempt > 1 else ""
    job = (
        f"Job {decision.job_id}{batch} ({decision.sensitivity} media, {decision.priority} priority, "
        f"project {decision.project}{attempt})"
    )
    when = f"at {_moment(decision.decided_at)}"
    pools = joined([_place(placement, decision.way) for placement in decision.placements])
    reason = f", because {decision.reason}" if decision.reason else ""
    match decision.action:
        case Action.RUN:
            return f"{job} {was} sent {when} to {pools}{reason}."
        case Action.WAIT:
            return f"{job} {was} sent {when} to {pools} and waits there{reason}."
        case Action.HOLD:
            return f"{job} {was} held {when} and sent nowhere{reason}."
    return f"{job} {was} refused {when}{reason}."


def _place(placement: Placement, way: Way) -> str:
    share = f" with {placement.share:.0%} of the work" if way is Way.SPLIT else ""
    return f"{placement.pool} ({placement.zone} zone, {placement.capacity.replace('_', '-')}){share}"


def joined(parts: list[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _by(decision: Decision) -> str:
    policy = f"policy version {decision.policy.version} (sha256 {decision.policy.hash[:12]})"
    if decision.rule is None:
        return f"No rule of {policy} decided this."
    why = f": {decision.why.rstrip('.')}" if decision.why else ""
    return f"Rule '{decision.rule}' of {policy} decided this{why}."


def _expectation(decision: Decision) -> str:
    estimate = decision.estimate
    race = " They race: the first good result counts, and the others are stopped." if decision.way is Way.RACE else ""
    work = "an unknown amount of GPU time" if estimate.gpu_s is None else f"{estimate.gpu_s:.0f} GPU-seconds"
    cost = "a cost that cannot be bounded" if estimate.cost_usd is None else f"{_money(estimate.cost_usd)}"
    reserve = "" if estimate.reserve_usd is None else f" ({_money(estimate.reserve_usd)} reserved)"
    begin = (
        "its start time is uncertain"
        if estimate.start_delay_s is None
        else f"it starts about {estimate.start_delay_s:.0f} s later"
    )
    return f"Expected: {work}, {cost}{reserve}; {begin}{_end(estimate, decision.deadline)}.{race}"


def _end(estimate: Estimate, deadline: datetime | None) -> str:
    end = "" if estimate.finish_at is None else f" and ends at {_moment(estimate.finish_at)}"
    if deadline is None:
        return end
    verdict = {True: "in time for", False: "too late for", None: "which may or may not meet"}
    return f"{end}, {verdict[estimate.meets_deadline]} the deadline of {_moment(deadline)}"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC%z").replace("UTC+0000", "UTC")


def _money(amount: Decimal) -> str:
    return f"{amount.quantize(Decimal('0.0001')).normalize():f} USD"
