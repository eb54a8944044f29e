"""The site of the documents: built without a warning, every link leads somewhere, nothing is loaded from elsewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from local_imports import ROOT

import glus.errors
import glus.inference
import glus.metrics

LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
CSS_ADDRESS = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\") ]+)")


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.anchors.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in LOADED and LOADED[tag] in given:
            self.loaded.add(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", folder / "trees", "."]
    made = subprocess.run([*map(str, command), str(folder / "site")], cwd=ROOT, capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, ""), made.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def local_targets(path: Path, addresses: set[str]) -> Iterator[tuple[str, Path, str]]:
    """Addresses without a host: themselves, the files that they mean, and the places in them."""
    for address in addresses:
        parts = urlsplit(address)
        if not parts.scheme and not parts.netloc:
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            yield address, file, unquote(parts.fragment)


def test_every_link_leads_to_a_page_and_a_place_in_it(pages: dict[Path, Page]) -> None:
    dead = {
        (str(path), address)
        for path, page in pages.items()
        for address, file, place in local_targets(path, page.links | page.loaded)
        if not file.exists() or (file in pages and place not in pages[file].anchors)
    }
    assert not dead


def test_nothing_is_loaded_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    assert not {address for page in pages.values() for address in page.loaded if urlsplit(address).netloc}
    assert not {found for path in site.rglob("*.css") for found in CSS_ADDRESS.findall(path.read_text("utf-8"))}


def test_every_document_is_a_page_and_the_site_opens_at_the_readme(site: Path, pages: dict[Path, Page]) -> None:
    documents = {path.relative_to(ROOT).with_suffix(".html") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]}
    assert {path.relative_to(site) for path in pages} >= documents
    assert pages[site / "index.html"].links == {"README.html"}


def test_the_reference_has_every_public_name(pages: dict[Path, Page], site: Path) -> None:
    names = {f"{module.__name__}.{name}" for module in (glus, glus.inference, glus.metrics) for name in module.__all__}
    errors = {name for name, value in vars(glus.errors).items() if isinstance(value, type) and "Error" in name}
    shown = pages[site / "docs" / "api.html"].anchors
    assert names - shown == {"glus.inference.segment_video"}  # shown as glus.segment_video
    assert {f"glus.errors.{name}" for name in errors} <= shown
