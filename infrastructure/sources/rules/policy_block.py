"""The Prefect block `RoutingPolicy`: routing rules as a form in Prefect's interface.

Two sections say what most companies want to say, where sensitive media goes and how money is guarded; a list of free
rules says the rest, in the words of a rules file. The block turns into the same document as a file (`to_document`), so
one loader judges both. The order of the rules that come out:

    1. restricted media, private media      section Sensitivity; a section that names no pools makes no rule
    2. budget nearly spent                  section Budget
    3. the free rules, as they stand
    4. public media                         section Sensitivity
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from prefect.blocks.core import Block
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl

from faceflow.infrastructure.routing.policy import PolicySettings

_DEFAULTS = PolicySettings()
_LOGO = HttpUrl("https://api.iconify.design/mdi:routes.svg?color=%230f6fde&height=64")
"""Material Design's sign for routes (Apache-2.0). Prefect takes web addresses only; where the browser reaches none, the
form simply has no picture."""


def _joined(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


_Pools = Annotated[str, BeforeValidator(_joined)]
"""Names with commas: Prefect's form draws a list as a JSON editor, and a text as a text."""


def _names(pools: str) -> list[str]:
    return [name for name in (part.strip() for part in pools.split(",")) if name]


class SensitivitySection(BaseModel):
    """Which pools take which media. Whatever stands here, restricted media enters isolated zones only, and private
    media no public one."""

    model_config = ConfigDict(extra="forbid", title="Sensitivity: which media may go where")

    restricted_pools: _Pools = Field(
        default="",
        title="Pools for restricted media",
        description=(
            "Names separated by commas. Restricted media (film work, actors' portraits) is locked to these pools and "
            "waits for them."
        ),
    )
    private_pools: _Pools = Field(
        default="",
        title="Pools for private media",
        description="Names separated by commas. Private media is locked to these pools and waits for them.",
    )
    public_pools: _Pools = Field(
        default="",
        title="Pools for public media",
        description=(
            "Names separated by commas, first choice first. This is the last rule: it applies to jobs that no free "
            "rule matched."
        ),
    )
    public_fallback: _Pools = Field(
        default="",
        title="Fallback for public media",
        description="Names separated by commas. Used when the pools above are full or would finish too late.",
    )
    public_max_wait_s: float = Field(
        default=60.0,
        ge=0,
        le=604_800,
        title="Longest wait, seconds",
        description="A pool counts as full when the wait is longer than this.",
    )


class BudgetSection(BaseModel):
    """How money is guarded. Amounts of projects are set with `faceflow budget set`."""

    model_config = ConfigDict(extra="forbid", title="Budget: limits on spending")

    over_budget: Literal["hold", "refuse"] = Field(
        default="hold",
        title="When the budget is exceeded",
        description="hold: the job waits for approval. refuse: the job is rejected. For the rules above.",
    )
    cost_headroom: float = Field(
        default=float(_DEFAULTS.cost_headroom),
        ge=1,
        le=10,
        title="Headroom",
        description="The amount reserved before a run, as a multiple of the estimate.",
    )
    saving_below_usd: float = Field(
        default=0.0,
        ge=0,
        title="Save below, US dollars",
        description=(
            "When less than this remains of a project's monthly budget, its public media only goes to the pools "
            "below. 0: never."
        ),
    )
    saving_pools: _Pools = Field(
        default="", title="Pools while saving", description="Names separated by commas; usually your own machines."
    )


class EstimateSection(BaseModel):
    """How signals and times are interpreted."""

    model_config = ConfigDict(extra="forbid", title="Estimates")

    max_signal_age_s: float = Field(
        default=_DEFAULTS.max_signal_age_s,
        gt=0,
        le=86_400,
        title="Oldest signal, seconds",
        description="Older signals count as missing.",
    )
    mean_job_gpu_s: float = Field(
        default=_DEFAULTS.mean_job_gpu_s,
        gt=0,
        le=86_400,
        title="Usual job, GPU-seconds",
        description="Converts the depth of a queue into a wait.",
    )
    changeover_s: float = Field(
        default=_DEFAULTS.changeover_s,
        ge=0,
        le=86_400,
        title="Changeover, seconds",
        description="The cost of moving a late job from spot to on-demand capacity.",
    )


class RoutingPolicy(Block):
    """Where jobs run: sensitivity, budget and free rules. A new version is in force within a second of being saved;
    one with mistakes changes nothing and is reported (`faceflow policy show`)."""

    _block_type_name: ClassVar[str | None] = "Routing Policy"
    _block_type_slug: ClassVar[str | None] = "routing-policy"
    _logo_url: ClassVar[HttpUrl | None] = _LOGO
    _description: ClassVar[str | None] = (
        "faceflow's routing rules: where each kind of media may go, how spending is limited, and free rules for "
        "everything else. Raise the version with every change."
    )

    version: int = Field(
        default=1, ge=1, title="Version", description="Raise it with every change; every decision records it."
    )
    summary: str = Field(
        default="", title="Description", description="The purpose of these rules, in a sentence or two."
    )
    sensitivity: SensitivitySection = Field(default_factory=SensitivitySection, title="Sensitivity")
    budget: BudgetSection = Field(default_factory=BudgetSection, title="Budget")
    rules: list[dict[str, Any]] = Field(
        default_factory=list,
        title="Free rules",
        description='Rules as in a rules file, in order: {"name": "urgent", "when": {"deadline_slack_s": {"below": '
        '300}}, "place": {"prefer": ["azure-t4-spot"]}}.',
    )
    default_place: dict[str, Any] = Field(
        default_factory=dict,
        title="Otherwise",
        description='The placement of jobs that no rule matches, such as {"prefer": ["private-k8s"]}. '
        "If empty, such jobs are held.",
    )
    estimates: EstimateSection = Field(default_factory=EstimateSection, title="Estimates")

    def to_document(self) -> dict[str, Any]:
        """The same as a rules document, as a rules file would hold it."""
        document: dict[str, Any] = {
            "version": self.version,
            "description": self.summary,
            "settings": {"cost_headroom": f"{self.budget.cost_headroom:.12g}", **self.estimates.model_dump()},
            "rules": [*self._sensitive(), *self._saving(), *self.rules, *self._public()],
        }
        if self.default_place:
            document["default"] = self.default_place
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """A block with the rules of a document as free rules, and with empty sections.

        Raises:
            ValueError: a block cannot hold it (the plain `task_rules` form, or fields of another kind).
        """
        unknown = document.keys() - {"version", "description", "settings", "rules", "default"}
        if unknown:
            raise ValueError(f"a block has no place for {', '.join(sorted(unknown))}")
        settings = dict(document.get("settings") or {})
        headroom = settings.pop("cost_headroom", None)
        return cls(
            version=document["version"],
            summary=document.get("description") or "",
            budget=BudgetSection() if headroom is None else BudgetSection(cost_headroom=headroom),
            rules=document.get("rules") or [],
            default_place=document.get("default") or {},
            estimates=EstimateSection(**settings),
        )

    def _sensitive(self) -> list[dict[str, Any]]:
        wanted = {
            "restricted": (_names(self.sensitivity.restricted_pools), "Restricted media may not leave these pools."),
            "private": (_names(self.sensitivity.private_pools), "Private media may not leave these pools."),
        }
        return [
            {
                "name": f"{sensitivity} media",
                "why": why,
                "when": {"sensitivity": sensitivity},
                "place": {"lock": pools, "over_budget": self.budget.over_budget},
            }
            for sensitivity, (pools, why) in wanted.items()
            if pools
        ]

    def _saving(self) -> list[dict[str, Any]]:
        pools = _names(self.budget.saving_pools)
        if not self.budget.saving_below_usd or not pools:
            return []
        return [
            {
                "name": "budget nearly spent",
                "why": f"Less than {self.budget.saving_below_usd:g} USD of the project's monthly budget is left.",
                "when": {"sensitivity": "public", "budget_left_usd": {"below": self.budget.saving_below_usd}},
                "place": {"lock": pools, "over_budget": self.budget.over_budget},
            }
        ]

    def _public(self) -> list[dict[str, Any]]:
        pools, fallback = _names(self.sensitivity.public_pools), _names(self.sensitivity.public_fallback)
        if not pools:
            return []
        place: dict[str, Any] = {
            "prefer": pools,
            "max_wait_s": self.sensitivity.public_max_wait_s,
            "over_budget": self.budget.over_budget,
        }
        if fallback:
            place["fallback"] = fallback
        return [{"name": "public media", "when": {"sensitivity": "public"}, "place": place}]
