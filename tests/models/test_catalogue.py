"""The catalogue says of every model what is needed to fetch, check and run it, and refuses what makes no sense."""

from __future__ import annotations

import pytest

from faceflow.errors import ModelError
from faceflow.vision.model_catalogue import Contract, ModelKind, Template, load_catalogue
from tests.models.conftest import HEAD, model

BUILT_IN = load_catalogue()
PUBLISHED = [
    "inswapper_128",
    "inswapper_128_fp16",
    "hyperswap_1a_256",
    "hyperswap_1b_256",
    "hyperswap_1c_256",
    "ghost_1_256",
    "ghost_2_256",
    "ghost_3_256",
    "simswap_256",
    "simswap_unofficial_512",
    "uniface_256",
    "blendswap_256",
    "hififace_unofficial_256",
    "alphaface_256",
    "gfpgan_1.2",
    "gfpgan_1.3",
    "gfpgan_1.4",
    "codeformer",
    "gpen_bfr_256",
    "gpen_bfr_512",
    "gpen_bfr_1024",
    "gpen_bfr_2048",
    "restoreformer_plus_plus",
    "det_10g",
    "w600k_r50",
    "2d106det",
    "1k3d68",
    "genderage",
    "retinaface_10g",
    "scrfd_2.5g",
    "yoloface_8n",
    "yunet_2023_mar",
    "2dfan4",
    "xseg_1",
    "xseg_2",
    "xseg_3",
    "bisenet_resnet_18",
    "bisenet_resnet_34",
    "crossface_ghost",
    "crossface_simswap",
    "crossface_hififace",
    "buffalo_l",
]


def test_every_published_model_is_there():
    for name in PUBLISHED:
        BUILT_IN.find(name)


def test_each_can_be_fetched_and_is_checked():
    for entry in BUILT_IN.entries():
        for file in entry.files:
            origin = BUILT_IN.archives[file.archive] if file.archive else file
            assert origin.sources, entry.name
            assert all(address.startswith("https://") for address in origin.sources)
            assert all("{" not in address for address in origin.sources)
    assert BUILT_IN.find("inswapper_128").files[0].sources[0] == (
        "https://huggingface.co/ezioruan/inswapper_128.onnx/resolve/6ffdf0e83c5996cc425e77b59913fc48d79441be/"
        "inswapper_128.onnx"
    )
    assert BUILT_IN.find("det_10g").files[0].archive == "buffalo_l.zip"


def test_each_says_how_it_is_run():
    for entry in BUILT_IN.entries():
        if entry.kind in (ModelKind.SWAPPER, ModelKind.RESTORER):
            assert entry.template is not None, entry.name
            assert entry.size_px in (128, 256, 512, 1024, 2048), entry.name
        assert min(entry.std) > 0
    simswap = BUILT_IN.find("simswap_256")
    assert (simswap.contract, simswap.template, simswap.size_px) == (Contract.SIMSWAP, Template.ARCFACE_112_V1, 256)
    assert simswap.mean == (0.485, 0.456, 0.406)
    assert [entry.name for entry in BUILT_IN.with_needs(["simswap_256"])] == [
        "crossface_simswap",
        "w600k_r50",
        "simswap_256",
    ]


def test_no_two_models_share_a_hash():
    hashes = [file.sha256 for entry in BUILT_IN.entries() for file in entry.files if file.sha256]
    assert len(hashes) == len(set(hashes)) > 40


def test_only_plainly_free_licences_count_as_commercial():
    free = {entry.licence.name for entry in BUILT_IN.entries() if entry.commercial_ok}
    assert free == {"apache", "mit", "gpl"}
    assert not BUILT_IN.find("inswapper_128").commercial_ok
    assert not BUILT_IN.find("uniface_256").commercial_ok


def test_variants_do_the_same_work():
    names = [entry.name for entry in BUILT_IN.variants("inswapper_128")]
    assert names == ["inswapper_128", "inswapper_128_facefusion"]
    for entry in BUILT_IN.entries():
        if entry.variant_of:
            other = BUILT_IN.find(entry.variant_of)
            assert (entry.kind, entry.contract, entry.template, entry.size_px, entry.mean, entry.std) == (
                other.kind,
                other.contract,
                other.template,
                other.size_px,
                other.mean,
                other.std,
            )


def test_an_unknown_model_says_where_to_look():
    with pytest.raises(ModelError) as caught:
        BUILT_IN.find("inswaper")
    assert caught.value.code == "model.unknown"
    assert "faceflow models list" in caught.value.resolution


def test_a_users_file_adds_and_replaces(catalogue_file):
    catalogue_file.write_text(
        HEAD
        + model("mine", more='template = "arcface_128"\nsize_px = 128', file='sources = ["https://example.org/a.onnx"]')
        + '[licence.insightface]\ntitle = "bought"\ncommercial_ok = true\n'
    )
    both = load_catalogue(catalogue_file)
    assert both.find("mine").files[0].sources == ("https://example.org/a.onnx",)
    assert both.find("mine").size_bytes is None
    assert both.find("inswapper_128").commercial_ok
    assert len(both.models) == len(BUILT_IN.models) + 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[model", "Expected"),
        ("[modell.x]", "no table 'modell'"),
        (HEAD + model("x", licence="mine"), "refers to the licence 'mine'"),
        (HEAD + model("x", file='source = "nowhere"'), "refers to the source 'nowhere'"),
        (HEAD + model("x", file='archive = "none.zip"'), "refers to the archive 'none.zip'"),
        (HEAD + model("x", more='needs = ["y"]'), "refers to the model 'y'"),
        (HEAD + model("x", more='needs = ["y"]') + model("y", more='needs = ["x"]'), "needs itself"),
        (HEAD + model("x", more='needs = ["x"]'), "needs itself"),
        (HEAD + model("x", file='sha256 = "abc"'), "sha256"),
        (HEAD + model("x", file='sources = ["ftp://example.org/a"]'), "sources"),
        (HEAD + model("x", file="size_bytes = 0"), "size_bytes"),
        (HEAD + model("../x"), "name"),
        (HEAD + model("x").replace('name = "x.onnx"', 'name = "../x.onnx"'), "name"),
        (HEAD + model("x").replace('"inswapper"', '"magic"'), "contract"),
        (HEAD + model("x", more="weight = 3"), "weight"),
        (HEAD + '[model.x]\nkind = "swapper"\n', "must have a file"),
        (HEAD + '[model.x]\nkind = "swapper"\nfile = { size_bytes = 3 }\ncontract = "gpen"', "name"),
        ('licence = "x"', "no table 'licence'"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(catalogue_file, text, why):
    catalogue_file.write_text(text)
    with pytest.raises(ModelError) as caught:
        load_catalogue(catalogue_file)
    assert caught.value.code == "model.catalogue_invalid"
    assert why in caught.value.message


def test_a_missing_file_of_the_user_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"model\.catalogue_invalid"):
        load_catalogue(tmp_path / "none.toml")
