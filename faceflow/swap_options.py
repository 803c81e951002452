"""Which faces of the target are swapped, by which engines, within which masks: the part of a request for the swap."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from faceflow.frozen import FrozenModel

_Age = Annotated[int, Field(ge=0, le=120, title="Years")]


class Selection(StrEnum):
    """Which faces of the target are swapped."""

    ALL = "all"
    LARGEST = "largest"
    FIRST = "first"
    MAPPED = "mapped"


class FaceOrder(StrEnum):
    """In which order the faces of a shot are counted, for the selection `first`."""

    LEFT_RIGHT = "left-right"
    RIGHT_LEFT = "right-left"
    TOP_BOTTOM = "top-bottom"
    BOTTOM_TOP = "bottom-top"
    LARGE_SMALL = "large-small"
    SMALL_LARGE = "small-large"
    BEST_WORST = "best-worst"


class Gender(StrEnum):
    """What a network takes a face for."""

    FEMALE = "female"
    MALE = "male"


class MaskKind(StrEnum):
    """What bounds a swapped face. The smallest of the chosen masks holds."""

    BOX = "box"
    OCCLUSION = "occlusion"
    REGION = "region"


class FaceRegion(StrEnum):
    """Parts of a face that the mask `region` tells apart, left and right as the person has them."""

    SKIN = "skin"
    LEFT_BROW = "left-brow"
    RIGHT_BROW = "right-brow"
    LEFT_EYE = "left-eye"
    RIGHT_EYE = "right-eye"
    GLASSES = "glasses"
    NOSE = "nose"
    MOUTH = "mouth"
    UPPER_LIP = "upper-lip"
    LOWER_LIP = "lower-lip"


class SwapOptions(FrozenModel):
    """How the faces are swapped and restored."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="Swap options")

    engine: str = Field(
        default="mesh",
        title="Engine",
        description="Which swapper runs: `mesh` is embedded and needs no downloaded weights, others are named as in "
        "`faceflow models list`; `auto` takes the best one that is installed and allowed here.",
    )
    selection: Selection = Field(
        default=Selection.ALL,
        title="Faces to swap",
        description="All faces, the largest of each shot, the first of each shot in the order below, or those of the "
        "face map.",
    )
    order: FaceOrder = Field(
        default=FaceOrder.LARGE_SMALL,
        title="Order of faces",
        description="How the selection `first` counts the faces of a shot.",
    )
    first_faces: int = Field(
        default=1,
        ge=1,
        le=64,
        title="How many faces",
        description="How many faces at once the selection `first` swaps.",
    )
    gender: Gender | None = Field(
        default=None, title="Gender", description="Swaps only faces that look female or male; empty swaps both."
    )
    age_from: _Age | None = Field(
        default=None, title="Youngest (years)", description="Swaps only faces that look at least so old."
    )
    age_to: _Age | None = Field(
        default=None, title="Oldest (years)", description="Swaps only faces that look at most so old."
    )
    analyser: str = Field(
        default="embedded",
        title="Analyser",
        description="What finds faces: `embedded` needs no downloaded weights, `insightface` is buffalo_l, others "
        "are detectors, named as in `faceflow models list`.",
    )
    landmarker: str = Field(
        default="auto",
        title="Landmarker",
        description="What refines the five points of a face that a network found: `auto` takes 2d106det with "
        "`insightface` and nothing else, `none` keeps the detector's, others are named as in `faceflow models list`.",
    )
    restorer: str = Field(
        default="detail",
        title="Restorer",
        description="`detail` matches sharpness and grain to the surroundings; `none` leaves the swap as it is; "
        "others are named as in `faceflow models list`.",
    )
    restore_blend: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        title="Restore strength",
        description="0 keeps the swapped face, 1 takes the restored face.",
    )
    restorer_weight: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Restorer fidelity",
        description="For restorers with such an input (CodeFormer): 0 paints freely, 1 keeps to the swapped face.",
    )
    identity_weight: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Identity weight",
        description="For networks that take an embedding: below 0.5 a share of the target's identity stays, above it "
        "the source's is exaggerated.",
    )
    pixel_boost_px: int | None = Field(
        default=None,
        ge=64,
        le=2048,
        title="Swap resolution (pixels)",
        description="Side of the swapped face, a multiple of the network's own up to 1024; empty takes the network's.",
    )
    masks: tuple[MaskKind, ...] = Field(
        default=(MaskKind.BOX,),
        title="Masks",
        description="`box` fades at the crop's border (for networks), `occlusion` spares what hides the face, `region` "
        "swaps only the named parts. The smallest holds.",
    )
    mask_feather: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        title="Box feather",
        description="Share of half the crop's side over which the box fades.",
    )
    mask_regions: tuple[FaceRegion, ...] = Field(
        default=tuple(FaceRegion), min_length=1, title="Regions", description="What the mask `region` swaps."
    )
    occlusion_model: str = Field(
        default="xseg_1",
        title="Occlusion network",
        description="The network of the mask `occlusion`: an XSeg, or `occluder`.",
    )
    region_model: str = Field(
        default="bisenet_resnet_34", title="Region network", description="The network of the mask `region`."
    )

    @property
    def asks_traits(self) -> bool:
        """Whether gender or age decide on who is swapped."""
        return (self.gender, self.age_from, self.age_to) != (None, None, None)

    @model_validator(mode="after")
    def _ages_in_order(self) -> Self:
        if self.age_from is not None and self.age_to is not None and self.age_from > self.age_to:
            raise ValueError("age_from is above age_to")
        return self
