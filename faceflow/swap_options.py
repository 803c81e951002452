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
        description=(
            "The swapper: `mesh` is embedded and needs no downloaded weights, `faceflow models list` lists the "
            "others; `auto` uses the best one that is installed and allowed here."
        ),
    )
    selection: Selection = Field(
        default=Selection.ALL,
        title="Faces to swap",
        description=(
            "All faces, the largest of each shot, the first of each shot in the order below, or those in the face map."
        ),
    )
    order: FaceOrder = Field(
        default=FaceOrder.LARGE_SMALL,
        title="Order of faces",
        description="The order in which the selection `first` counts the faces of a shot.",
    )
    first_faces: int = Field(
        default=1,
        ge=1,
        le=64,
        title="How many faces",
        description="How many faces the selection `first` swaps at once.",
    )
    gender: Gender | None = Field(
        default=None,
        title="Gender",
        description="Swap only faces judged to be female or male; leave it empty to swap both.",
    )
    age_from: _Age | None = Field(
        default=None, title="Youngest (years)", description="Swap only faces judged to be at least this old."
    )
    age_to: _Age | None = Field(
        default=None, title="Oldest (years)", description="Swap only faces judged to be at most this old."
    )
    analyser: str = Field(
        default="embedded",
        title="Analyser",
        description=(
            "The face detector: `embedded` needs no downloaded weights, `insightface` is buffalo_l, `faceflow models "
            "list` lists the others."
        ),
    )
    landmarker: str = Field(
        default="auto",
        title="Landmarker",
        description=(
            "The model that refines the detector's five landmarks: `auto` uses 2d106det with `insightface` and "
            "nothing otherwise, `none` keeps the detector's, `faceflow models list` lists the others."
        ),
    )
    restorer: str = Field(
        default="detail",
        title="Restorer",
        description=(
            "`detail` matches sharpness and grain to the surroundings; `none` leaves the swap unchanged; `faceflow "
            "models list` lists the others."
        ),
    )
    restore_blend: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        title="Restore strength",
        description="0 keeps the swapped face, 1 uses the restored face.",
    )
    restorer_weight: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Restorer fidelity",
        description=(
            "For restorers with such an input (CodeFormer): 0 gives the model a free hand, 1 stays close to the "
            "swapped face."
        ),
    )
    identity_weight: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        title="Identity weight",
        description=(
            "For networks that take an embedding: below 0.5 keeps some of the target's identity, above 0.5 "
            "exaggerates the source."
        ),
    )
    pixel_boost_px: int | None = Field(
        default=None,
        ge=64,
        le=2048,
        title="Swap resolution (pixels)",
        description=(
            "Side of the swapped face: a multiple of the network's own, up to 1024. Leave it empty to use the "
            "network's own."
        ),
    )
    masks: tuple[MaskKind, ...] = Field(
        default=(MaskKind.BOX,),
        title="Masks",
        description=(
            "`box` fades at the crop's border (for networks), `occlusion` leaves out objects in front of the face, "
            "`region` swaps only the named parts. The smallest value of all masks counts."
        ),
    )
    mask_feather: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        title="Box feather",
        description="Width of the fade, as a share of half the crop's side.",
    )
    mask_regions: tuple[FaceRegion, ...] = Field(
        default=tuple(FaceRegion),
        min_length=1,
        title="Regions",
        description="The parts of the face that the mask `region` swaps.",
    )
    occlusion_model: str = Field(
        default="xseg_1",
        title="Occlusion network",
        description="The network for the mask `occlusion`: an XSeg, or `occluder`.",
    )
    region_model: str = Field(
        default="bisenet_resnet_34", title="Region network", description="The network for the mask `region`."
    )

    @property
    def asks_traits(self) -> bool:
        """Whether gender or age decide on who is swapped."""
        return (self.gender, self.age_from, self.age_to) != (None, None, None)

    @model_validator(mode="after")
    def _ages_in_order(self) -> Self:
        if self.age_from is not None and self.age_to is not None and self.age_from > self.age_to:
            raise ValueError("age_from must not be above age_to")
        return self
