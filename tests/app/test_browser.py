"""The page in a browser: a video, sentences, masks, an export, a bad file; and the command that serves it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from local_imports import ROOT

from glus.app.serving import is_loopback, opened_page, require_port
from glus.app.visitor import Service
from glus.cli import main
from glus.errors import InputError
from glus.media.sources import open_frames
from glus.model.lora import merged_state_dict
from glus.weights.saved import save_glus
from tests.commands.test_segment import write_film

T, RED, GREEN = 10, "the red circle", "the small green square"
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed (glus[app])")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def tab(always_seg, port) -> Iterator[Any]:
    """A browser's tab that shows the page of a random model, which always says [SEG]."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    service = Service(always_seg, None, window_stride=1, most_frames=20)
    with opened_page(service, "127.0.0.1", port) as address, playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = window.new_page()
        page.set_default_timeout(60_000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("#segment").wait_for()
        yield page
        window.close()
    assert asked and not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


@needs_gradio
def test_a_visit(tab, tmp_path):
    films = {}
    for name, length in (("film", T), ("long", 21)):
        films[name] = tmp_path / f"{name}.mp4"
        write_film(films[name], length)
    films["bad"] = tmp_path / "bad.mp4"
    films["bad"].write_text("no film")
    upload = tab.locator("input[type=file]").first
    upload.set_input_files(films["bad"])
    tab.get_by_text("bad.mp4").first.wait_for()
    upload.set_input_files(films["film"])
    tab.get_by_text(f"film.mp4: {T} frames of 64 x 48 pixels.").wait_for()

    tab.locator("#sentences textarea").fill(f"{RED}\n{GREEN}")
    tab.locator("#segment").click()
    tab.get_by_text(f"Finished: {2 * T} masks.").wait_for()
    assert tab.locator("#timelines svg[data-place]").count() == 2
    assert tab.locator("#timelines rect.mask").count() >= 1
    assert tab.locator("#view img").evaluate("image => image.naturalWidth") == 480

    bar = tab.locator("svg[data-place='1']")
    bar.click(position={"x": bar.bounding_box()["width"] * 4.5 / T, "y": 10})
    tab.get_by_text("starts at frame 4").wait_for()
    tab.get_by_text(f"Finished: {2 * T} masks.").wait_for()

    tab.locator("#export").click()
    with tab.expect_download() as download:
        tab.locator("#file a").first.click()
    assert download.value.suggested_filename == "film-overlay.mp4"
    download.value.save_as(tmp_path / "overlay.mp4")
    assert len(open_frames(tmp_path / "overlay.mp4")) == T

    upload.set_input_files(films["long"])
    tab.get_by_text("long.mp4 has 21 frames, and this page takes 20").wait_for()
    tab.get_by_text(f"Finished: {2 * T} masks.").wait_for()  # the film before is still there


@needs_gradio
@pytest.mark.parametrize("ending", ["ctrl-c", "the parent ends"])
def test_the_command_ends_in_a_line_and_leaves_nothing(ending, model, port, tmp_path):
    save_glus(model, merged_state_dict(model), tmp_path / "model")
    own = tmp_path / "temporary"
    own.mkdir()
    command = [sys.executable, "-m", "glus", "app", "--model", tmp_path / "model", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(own)}
    if ending == "the parent ends":
        command = [sys.executable, "-c", PARENT, *command]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=-1, stderr=-1) as started:
        assert started.stdout.readline() == f"The page is at http://127.0.0.1:{port}/ (Ctrl-C ends it).\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 200
        assert list(own.glob("glus-app-*"))
        started.send_signal(signal.SIGINT if ending == "ctrl-c" else signal.SIGKILL)
        out, err = started.communicate(timeout=30)  # the pipes are open until all have ended
    assert (out, err) == ("Ended; what visitors uploaded and exported is removed.\n", "")
    assert started.returncode == (0 if ending == "ctrl-c" else -signal.SIGKILL)
    assert not list(own.glob("glus-app-*"))


PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"


def test_without_gradio_the_command_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)  # as if it were not there
    with pytest.raises(SystemExit) as ended:
        main(["app"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "pip install 'glus[app]'" in said and said.count("\n") == 1


def test_a_port_that_is_taken_and_a_host_that_is_not_here_are_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1:{port} cannot be served"):
            require_port("127.0.0.1", port)
    with pytest.raises(InputError, match="give another --port or --host"):
        require_port("192.0.2.1", 0)
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [
        True, True, True, False, False,
    ]  # fmt: skip
