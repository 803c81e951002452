"""A run that a person starts in the Prefect UI completes, and shows progress, graph and pictures (a real browser)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.conftest import Up
from tests.faces import face_clip, portrait
from tests.prefect_api import until
from tests.servers import asked, missing

pytestmark = pytest.mark.ui

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
STAGES = ("validate", "transcode", "segment", "swap-00000", "restore-00000", "compose-00000", "join", "upload")
RUN_TIMEOUT_MS = 240_000
SHOWN_TIMEOUT_MS = 120_000
expect.set_options(timeout=SHOWN_TIMEOUT_MS)  # else 5 s, in which a busy machine shows nothing


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        missing("a Chromium browser is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, up: Up) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 2400}, base_url=up.ui_url)
    page.set_default_timeout(SHOWN_TIMEOUT_MS)  # a page loads slowly beside other tests
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if answer.status == 422 else None)
    yield page
    page.close()
    assert not refused, "the server does not understand its own UI"


def heading(page: Page, title: str) -> Locator:
    """The heading of a form field; optional ones carry a note behind their title."""
    return page.locator(f"xpath=//*[starts-with(normalize-space(text()), '{title}')]").first


def after(page: Page, title: str, what: str) -> Locator:
    """The first element of a kind that follows a heading."""
    return heading(page, title).locator(f"xpath=following::{what}").first


def open_form(page: Page) -> None:
    page.goto("/deployments")
    rows = page.get_by_role("row")
    rows.filter(has=page.get_by_role("link", name="preload-models", exact=True)).first.wait_for()
    swaps = rows.filter(has=page.get_by_role("link", name="swap-video", exact=True))
    swaps.get_by_role("link", name="local", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    heading(page, "Target").wait_for()


def test_a_run_from_the_ui_completes_and_shows_what_it_did(page: Page, up: Up, tmp_path: Path) -> None:
    source, target, output = portrait(tmp_path), face_clip(tmp_path / "from ui.mp4", seconds=1.5), tmp_path / "out.mp4"

    open_form(page)
    for title in ("Sources", "Target", "Output", "Face map", "Swap", "Encoding", "Consent", "Project", "Priority"):
        expect(heading(page, title)).to_be_visible()
    for described in (
        "The video or picture whose faces are replaced.",
        "faceflow swaps no face without a consent record.",
    ):
        expect(page.get_by_text(described)).to_be_visible()
    for title, value in {"Faces to swap": "all", "Encoder preset": "veryfast", "Sensitivity": "public"}.items():
        expect(after(page, title, "*[contains(@class, 'p-select')]")).to_contain_text(value)
    expect(page.get_by_role("button", name="str", exact=True)).to_have_count(0)

    page.get_by_role("button", name="Add item").first.click()  # a source
    heading(page, "Portraits").wait_for()
    page.get_by_role("button", name="Add item").first.click()  # its portrait
    page.get_by_role("button", name="Consent record").click()
    after(page, "Portraits", "textarea").fill(str(source))
    after(page, "Target", "textarea").fill(str(target))
    after(page, "Output", "textarea").fill(str(output))
    after(page, "Who agreed", "textarea").fill("Eileen Collins")
    after(page, "What was agreed", "textarea").fill("tests of this program")
    after(page, "Consent reference", "button[normalize-space(.)='Number']").click()
    after(page, "Consent reference", "textarea").fill("NASA S93-45481")
    page.screenshot(path=tmp_path / "form.png")
    deployment = page.url.partition("/deployment/")[2].partition("/")[0].partition("?")[0]
    page.get_by_role("button", name="Submit").click()

    # The note with "View run" moves, and goes away on a busy machine before it can be clicked.
    newest = {"flow_runs": {"deployment_id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 5}

    def submitted() -> dict[str, Any] | None:
        runs = asked("POST", f"{up.ui_url}/api/flow_runs/filter", newest).json()
        return next((run for run in runs if run["parameters"]["job"]["output"] == str(output)), None)

    try:
        started = until(submitted, what="run of the form")
    finally:
        page.screenshot(path=tmp_path / "submitted.png")
    page.goto(f"/runs/flow-run/{started['id']}")
    run = page.url
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.get_by_text("swap from ui.mp4").first).to_be_visible()
    assert output.stat().st_size > 1000

    page.reload()
    graph = page.locator("canvas").first
    graph.wait_for()
    expect(page.get_by_text("swap-00000").first).to_be_attached()
    assert all(side > 200 for side in graph.evaluate("canvas => [canvas.width, canvas.height]"))
    page.get_by_text("Task Runs", exact=True).click()
    for stage in STAGES:
        expect(page.get_by_role("link", name=stage, exact=True).first).to_be_visible()
    page.screenshot(path=tmp_path / "run.png")

    open_artifact(page, run, "swap-progress")
    expect(page.get_by_text("100%")).to_be_visible()
    open_artifact(page, run, "swap-result")
    for cell in ("frames", "faces", "swap, seconds", "SHA-256", str(output)):
        expect(page.get_by_text(cell, exact=True).first).to_be_visible()
    open_artifact(page, run, "swap-output")
    expect(page.get_by_text(str(output)).first).to_be_visible()
    open_artifact(page, run, "swap-before-after")
    picture = page.locator("img[src^='data:image/jpeg']")
    expect(picture).to_be_visible()
    page.wait_for_function("() => document.querySelector(\"img[src^='data:image/jpeg']\").naturalWidth > 0")
    page.screenshot(path=tmp_path / "pictures.png")
    shown = picture.bounding_box()
    assert shown is not None
    assert shown["width"] > 300
    assert shown["height"] > 100


def open_artifact(page: Page, run: str, key: str) -> None:
    page.goto(run)
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text(key, exact=True).first.click()
    page.wait_for_url("**/artifacts/artifact/*")
