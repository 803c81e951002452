"""Every swapper, restorer and mask of the catalogue through a whole video job: pixels that can be computed by hand.

What is predicted comes from the published contracts (written down once more below, from their makers' own code), from
the stand-in's function, and from the five points of the face; nothing of the product's arithmetic is used for it.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from insightface.utils import face_align
from skimage.transform import SimilarityTransform

from benchmarks.material import ASTRONAUT
from faceflow.job import MaskKind, SwapOptions
from faceflow.media.reader import FrameReader
from faceflow.progress import Progress
from faceflow.stages import compose as compose_stage
from faceflow.stages.compose import run_compose
from faceflow.stages.restore import run_restore
from faceflow.stages.swap import run_swap
from faceflow.vision.embedded_analyser import EmbeddedAnalyser
from faceflow.vision.faces_file import FacesReader
from faceflow.vision.model_catalogue import ModelKind, load_catalogue
from faceflow.vision.registry import require_engines
from tests.engines.standins import LIFT, MIX, embedding_matrix, spread, turned, wave
from tests.vision.conftest import Prepared, load
from tests.vision.test_stages import Recorder, clip

pytestmark = pytest.mark.filterwarnings("ignore:.estimate. is deprecated:FutureWarning")

FRAMES = 3
POINTS = {
    "112_v1": [[39.73, 51.138], [72.27, 51.138], [56, 68.493], [42.463, 87.01], [69.537, 87.01]],
    "112_v2": [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    "128": [[46.2946, 51.6963], [81.5318, 51.5014], [64.0252, 71.7366], [49.5493, 92.3655], [78.7299, 92.2041]],
    "ffhq": [
        [192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935], [201.26117, 371.41043],
        [313.08905, 371.15118],
    ],
    "mtcnn": [
        [187.20187, 239.27705], [324.12366, 238.52], [256.09793, 317.14795], [199.34402, 397.30597],
        [316.76644, 396.68475],
    ],
}  # fmt: skip
SIDES = {"112_v1": 112, "112_v2": 112, "128": 128, "ffhq": 512, "mtcnn": 512}
NOTHING, HALF = (0.0, 1.0), (0.5, 0.5)
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
SWAPPERS = {  # template, side, pixels in, pixels out, what the source is
    "inswapper_128": ("128", 128, NOTHING, NOTHING, "emap"),
    "inswapper_128_fp16": ("128", 128, NOTHING, NOTHING, "emap"),
    "hyperswap_1a_256": ("128", 256, HALF, HALF, "unit"),
    "hyperswap_1b_256": ("128", 256, HALF, HALF, "unit"),
    "hyperswap_1c_256": ("128", 256, HALF, HALF, "unit"),
    "ghost_1_256": ("112_v1", 256, HALF, HALF, "converted"),
    "ghost_2_256": ("112_v1", 256, HALF, HALF, "converted"),
    "ghost_3_256": ("112_v1", 256, HALF, HALF, "converted"),
    "simswap_256": ("112_v1", 256, IMAGENET, NOTHING, "converted unit"),
    "simswap_unofficial_512": ("112_v1", 512, NOTHING, NOTHING, "converted unit"),
    "uniface_256": ("ffhq", 256, HALF, HALF, "picture"),
    "blendswap_256": ("ffhq", 256, NOTHING, NOTHING, "small picture"),
    "hififace_unofficial_256": ("mtcnn", 256, HALF, HALF, "converted unit"),
    "alphaface_256": ("128", 256, NOTHING, NOTHING, "unit"),
}
RESTORERS = {
    "gfpgan_1.2": ("ffhq", 512), "gfpgan_1.3": ("ffhq", 512), "gfpgan_1.4": ("ffhq", 512),
    "codeformer": ("ffhq", 512), "restoreformer_plus_plus": ("ffhq", 512), "gpen_bfr_256": ("128", 256),
    "gpen_bfr_512": ("ffhq", 512), "gpen_bfr_1024": ("ffhq", 1024), "gpen_bfr_2048": ("ffhq", 2048),
    "codeformer_fp16": ("ffhq", 512), "restoreformer_plus_plus_fp16": ("ffhq", 512),
}  # fmt: skip
WEIGHTED = ("codeformer", "restoreformer_plus_plus", "codeformer_fp16", "restoreformer_plus_plus_fp16")
XSEG = (256, lambda picture: (picture[..., 0] / 255 * 2.4 - 0.3).clip(0, 1))
BISENET = (512, lambda picture: (picture[..., 2] / 255 > 0.485).astype(np.float32))
MASKERS = {  # side, and what of a picture (BGR) is swapped
    "xseg_1": XSEG, "xseg_2": XSEG, "xseg_3": XSEG, "xseg_visomaster": XSEG,
    "occluder": (256, lambda picture: (picture[..., 0] / 255 * 9 > 3).astype(np.float32)),
    "bisenet_resnet_34": BISENET, "bisenet_resnet_18": BISENET,
}  # fmt: skip


def bgr_of(frame) -> np.ndarray:
    """float32 (H, W, 3), BGR, of a limited-range BT.601 4:4:4 frame: ITU-R BT.601's own numbers."""
    y, u, v = (plane.astype(np.float64) for plane in frame.planes)
    y, u, v = (y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224
    return np.dstack([y + 1.772 * u, y - 0.344136 * u - 0.714136 * v, y + 1.402 * v]).clip(0, 255).astype(np.float32)


def fit(points, template: str, side: int) -> np.ndarray:
    reference = np.array(POINTS[template]) / SIDES[template] * side
    return SimilarityTransform.from_estimate(points, reference).params[:2]


def embedding_of(picture, face) -> np.ndarray:
    crop = face_align.norm_crop(picture, face.points, 112)[..., ::-1].astype(np.float32)
    return ((crop - 127.5) / 127.5 * (1 + 5 * wave(112).transpose(1, 2, 0))).mean((0, 1)) @ spread()


def influence(source: str, picture, face) -> np.ndarray:
    """What the stand-in adds for the source: a number, or one a channel."""
    if "picture" in source:
        template, side = ("112_v2", 112) if source == "small picture" else ("ffhq", 256)
        matrix = fit(face.points, template, side)
        crop = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        return 0.3 * crop[..., ::-1].mean((0, 1)) / 255
    embedding = embedding_of(picture, face)
    if source == "emap":
        embedding = embedding / np.linalg.norm(embedding) @ embedding_matrix()
        embedding /= np.linalg.norm(embedding)
    if source == "unit":
        embedding = embedding / np.linalg.norm(embedding)
    if "converted" in source:
        embedding = embedding @ turned()
    if "converted unit" in source:
        embedding = embedding / np.linalg.norm(embedding)
    return np.asarray(0.3 * embedding[0], np.float32)


def swapped_crop(crop, name: str, picture, face) -> np.ndarray:
    """float32 (S, S, 3), BGR: what must come out of a swapper for this crop."""
    _, side, (mean, std), (back_mean, back_std), source = SWAPPERS[name]
    tensor = (crop[..., ::-1] / 255 - mean) / std
    made = tensor @ MIX.T + influence(source, picture, face) + (wave(side).transpose(1, 2, 0) + LIFT)
    return ((made * back_std + back_mean).clip(0, 1) * 255)[..., ::-1].astype(np.float32)


def restored_crop(crop, side: int, weight: float | None) -> np.ndarray:
    tensor = (crop[..., ::-1] / 255 - 0.5) / 0.5
    made = tensor @ MIX.T + wave(side).transpose(1, 2, 0) / 2 + (0 if weight is None else 0.1 * weight)
    return ((made.clip(-1, 1) + 1) / 2 * 255)[..., ::-1].astype(np.float32)


def through(picture, matrix, size) -> np.ndarray:
    return cv2.warpAffine(picture, np.asarray(matrix, np.float64), size, borderMode=cv2.BORDER_REPLICATE)


def laid(frame, crop, matrix) -> tuple[np.ndarray, np.ndarray]:
    """The crop back in the frame, and where its middle (not its feathered border) is."""
    height, width = frame.shape[:2]
    side = crop.shape[0]
    middle = np.zeros((side, side), np.float32)
    middle[int(side * 0.22) : int(side * 0.78), int(side * 0.22) : int(side * 0.78)] = 1
    back = cv2.invertAffineTransform(np.asarray(matrix, np.float64))
    return through(crop, back, (width, height)), cv2.warpAffine(middle, back, (width, height)) > 0.999


class Job:
    """A video job through the real stages, with what went in and what came out."""

    def __init__(self, studio, folder, monkeypatch, **options):
        self.options = SwapOptions(restorer=options.pop("restorer", "none"), **options)
        batch = 1
        self.ready = Prepared(clip(folder, "yuv444p", FRAMES), ASTRONAUT, folder, swap=self.options)
        self.settings = studio.settings(batch=batch)
        require_engines(self.options, self.settings)
        segment = self.ready.segment(0, 0, FRAMES)
        ready, progress = self.ready, Progress()
        swapped = run_swap(
            ready.job, ready.validated, ready.mezzanine, ready.plan, segment, self.settings, folder, progress
        )
        assert swapped.faces == FRAMES
        self.faces = self._read(swapped)
        self.restored = run_restore(ready.job, swapped, self.settings, folder, progress)
        monkeypatch.setattr(compose_stage, "PartWriter", Recorder)
        run_compose(ready.job, ready.mezzanine, self.restored, self.settings, folder, progress)
        self.before = list(
            FrameReader(ready.mezzanine.video, ready.mezzanine.subject.media, ready.index).read(0, FRAMES)
        )
        self.after = Recorder.frames

    @staticmethod
    def _read(artifact):
        with FacesReader(artifact.file.path) as reader:
            return list(reader)

    def shown(self):
        """Frame before and after (BGR), and the five points of its face in the frame."""
        for old, new, face in zip(self.before, self.after, self.faces, strict=True):
            back = cv2.invertAffineTransform(face.matrix.astype(np.float64))
            yield bgr_of(old), bgr_of(new), face.points @ back[:, :2].T + back[:, 2]


@pytest.fixture(scope="module")
def source():
    picture = load(ASTRONAUT)
    return picture, EmbeddedAnalyser().analyse(picture)[0]


def compare(seen, expected, where):
    """Mean and all but the worst of the differences, in 8-bit steps."""
    assert where.sum() > 1000
    away = np.abs(seen - expected.clip(0, 255))[where]
    assert away.mean() < 1.5, away.mean()
    assert np.quantile(away, 0.98) < 5, np.quantile(away, 0.98)


@pytest.mark.parametrize("name", SWAPPERS)
def test_a_swapper_changes_pixels_as_its_function_says(studio, tmp_path, monkeypatch, source, name):
    studio.install(name)
    job = Job(studio, tmp_path, monkeypatch, engine=name, mask_feather=0.2)
    template, side = SWAPPERS[name][:2]
    for before, after, points in job.shown():
        matrix = fit(points, template, side)
        crop = swapped_crop(through(before, matrix, (side, side)), name, *source)
        expected, where = laid(before, crop, matrix)
        if "hyperswap" in name:  # its own mask: half, and 0.3 of the gray that it sees
            gray = (through(before, matrix, (side, side)) / 255 - 0.5).mean(2, keepdims=True) / 0.5
            share, _ = laid(before, (0.5 + 0.3 * gray).clip(0, 1), matrix)
            expected = before + (expected - before) * share[..., None]
        compare(after, expected, where)
        found = EmbeddedAnalyser().analyse(before.astype(np.uint8))
        assert np.abs(points - found[0].points).max() < 3


@pytest.mark.parametrize(
    ("engine", "name"),
    [*(("inswapper_128", name) for name in RESTORERS), ("uniface_256", "codeformer"), ("uniface_256", "gpen_bfr_256")],
)
def test_a_restorer_changes_the_swapped_pixels_as_its_function_says(
    studio, tmp_path, monkeypatch, source, engine, name
):
    studio.install(engine, name)
    blend = 0.75
    job = Job(
        studio, tmp_path, monkeypatch, engine=engine, restorer=name, restore_blend=blend, restorer_weight=0.9,
        mask_feather=0.2,
    )  # fmt: skip
    swap_template, swap_side = SWAPPERS[engine][:2]
    template, side = RESTORERS[name]
    for before, after, points in job.shown():
        matrix = fit(points, swap_template, swap_side)
        crop = swapped_crop(through(before, matrix, (swap_side, swap_side)), engine, *source)
        swapped, where = laid(before, crop, matrix)
        view = fit(points, template, side)
        weight = 0.9 if name in WEIGHTED else None
        restored = restored_crop(through(swapped, view, (side, side)), side, weight)
        over, middle = laid(before, restored, view)
        compare(after, swapped + (over - swapped) * blend, where & middle)


@pytest.mark.parametrize("engine", ["mesh", "simswap_unofficial_512", "blendswap_256"])
def test_any_swapper_goes_with_any_restorer(studio, tmp_path, monkeypatch, engine):
    studio.install(*({engine} - {"mesh"}), "gfpgan_1.4")
    job = Job(studio, tmp_path, monkeypatch, engine=engine, restorer="gfpgan_1.4")
    plain = Job(studio, tmp_path, monkeypatch, engine=engine)
    for (before, after, _), (_, other, _) in zip(job.shown(), plain.shown(), strict=True):
        changed, swapped = np.abs(after - before).max(2) > 4, np.abs(other - before).max(2) > 4
        assert changed.sum() > 1000
        assert (changed & ~cv2.dilate(swapped.astype(np.uint8), np.ones((9, 9))).astype(bool)).mean() < 0.002
        assert np.abs(after - other)[changed].mean() > 5


@pytest.mark.parametrize("name", MASKERS)
def test_a_mask_is_what_its_network_sees_of_the_target(studio, tmp_path, monkeypatch, source, name):
    studio.install("inswapper_128", name)
    region = "bisenet" in name
    chosen = {"masks": (MaskKind.REGION,), "region_model": name}
    if not region:
        chosen = {"masks": (MaskKind.OCCLUSION,), "occlusion_model": name}
    job = Job(studio, tmp_path, monkeypatch, engine="inswapper_128", **chosen)
    side, seen = MASKERS[name]
    for face, (before, after, points) in zip(job.faces, job.shown(), strict=True):
        matrix = fit(points, "128", 128)
        crop = through(before, matrix, (128, 128))
        soft = cv2.GaussianBlur(cv2.resize(seen(cv2.resize(crop, (side, side))), (128, 128)), (0, 0), 2.5)
        mask = (soft * 2 - 1).clip(0, 1)
        assert np.abs(face.crop.mask - mask * 255)[4:-4, 4:-4].mean() < 3
        assert 0.05 < (face.crop.mask > 128).mean() < 0.95
        expected, middle = laid(before, swapped_crop(crop, "inswapper_128", *source), matrix)
        share, _ = laid(before, mask, matrix)
        compare(after, before + (expected - before) * share[..., None], middle)


def test_the_smallest_of_all_masks_holds(studio, tmp_path, monkeypatch):
    studio.install("inswapper_128", "xseg_1", "bisenet_resnet_34")
    masks = {
        "box": Job(studio, tmp_path, monkeypatch, engine="inswapper_128", mask_feather=0.2),
        "occlusion": Job(studio, tmp_path, monkeypatch, engine="inswapper_128", masks=(MaskKind.OCCLUSION,)),
        "region": Job(studio, tmp_path, monkeypatch, engine="inswapper_128", masks=(MaskKind.REGION,)),
        "all": Job(studio, tmp_path, monkeypatch, engine="inswapper_128", mask_feather=0.2, masks=tuple(MaskKind)),
    }
    for number in range(FRAMES):
        found = {kind: job.faces[number].crop.mask for kind, job in masks.items()}
        smallest = np.minimum(np.minimum(found["box"], found["occlusion"]), found["region"])
        assert np.array_equal(found["all"], smallest)


def test_the_catalogue_holds_no_network_that_is_not_run_here():
    for kind, known in ((ModelKind.SWAPPER, SWAPPERS), (ModelKind.RESTORER, RESTORERS), (ModelKind.MASKER, MASKERS)):
        assert {entry.name for entry in load_catalogue().entries(kind) if entry.variant_of is None} == set(known)


def test_the_box_fades_and_can_be_left_out(studio, tmp_path, monkeypatch):
    studio.install("ghost_3_256")
    box = Job(studio, tmp_path, monkeypatch, engine="ghost_3_256", mask_feather=0.5).faces[0].crop.mask
    hard = Job(studio, tmp_path, monkeypatch, engine="ghost_3_256", masks=()).faces[0].crop.mask
    for mask in (box, hard):
        assert not mask[0].any() and not mask[:, -1].any()
    assert (hard[1:-1, 1:-1] == 255).all()
    assert (np.diff(box[128, :64].astype(int)) >= 0).all()
    assert box[128, 32] == pytest.approx(128, abs=8) and box[128, 66] == 255
