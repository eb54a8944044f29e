"""The page in a browser: a video, sentences, masks, an export, a bad file; and the command that serves it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from local_imports import ROOT
from patience import SECONDS, all_gone, comes_true

from experiments.ports import free_port
from glus.app import replies
from glus.app.serving import is_loopback, opened_page, require_port
from glus.app.visitor import Service, Visitor
from glus.cli import main
from glus.errors import InputError
from glus.media.sources import open_frames
from glus.model.lora import merged_state_dict
from glus.weights.saved import save_glus
from tests.app.test_visitor import count_encoded
from tests.commands.test_segment import write_film

# how many streams of replies the page has open: gradio's client aborts each when it hears that it has ended
COUNTS_STREAMS = """
window.streams = 0;
const fetched = window.fetch;
window.fetch = (request, ...options) => {
  if (!(request.url ?? String(request)).includes('/queue/data')) return fetched(request, ...options);
  window.streams += 1;
  (request.signal ?? options[0]?.signal).addEventListener('abort', () => { window.streams -= 1; });
  return fetched(request, ...options);
};
"""
T, RED, GREEN = 10, "the red circle", "the small green square"
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed (glus[app])")


@pytest.fixture
def new_tab(always_seg, monkeypatch) -> Iterator[Callable[[], Any]]:
    """Opens tabs, each of a browser of its own, at the page of a random model, which always says [SEG]."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    monkeypatch.setattr(replies, "SECONDS_TO_READ", SECONDS)  # else a sentence may go while it is read
    service = Service(always_seg, None, window_stride=1, most_frames=20, most_sentences=3)
    with opened_page(service, "127.0.0.1", free_port(), 2) as address, playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        asked: list[str] = []

        def opened() -> Any:
            page = window.new_context().new_page()
            page.set_default_timeout(1000 * SECONDS)
            page.on("request", lambda request: asked.append(request.url))
            page.add_init_script(COUNTS_STREAMS)
            page.goto(address)
            page.locator("#segment").wait_for()
            return page

        yield opened
        window.close()
    assert asked and not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


@pytest.fixture
def film(tmp_path) -> Path:
    write_film(tmp_path / "film.mp4", T)
    return tmp_path / "film.mp4"


def reads(tab: Any, text: str) -> None:
    """The page says it, and has closed the stream of its replies.

    Gradio's client opens no stream for a click while it takes the last one for open, though the server may have closed
    that already; nobody would then read the reply.
    """
    tab.get_by_text(text).wait_for()
    tab.wait_for_function("window.streams === 0")


def upload(tab: Any, film: Path, num_frames: int) -> None:
    tab.locator("input[type=file]").first.set_input_files(film)
    reads(tab, f"{film.name}: {num_frames} frames of 64 x 48 pixels.")


def choose(tab: Any, film: Path) -> None:
    """Uploads as people do; a file that was refused can be chosen again."""
    with tab.expect_file_chooser() as chooser:
        tab.locator("#upload").click()
    chooser.value.set_files(film)


def ask(tab: Any, *sentences: str) -> None:
    tab.locator("#sentences textarea").fill("\n".join(sentences))
    tab.locator("#segment").click()


def exported_film(tab: Any, folder: Path) -> Path:
    tab.locator("#export").click()
    with tab.expect_download() as download:
        tab.locator("#file a").first.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def refusal(tab: Any) -> str:
    """What the page says in a corner, which is closed then."""
    toast = tab.get_by_test_id("toast-text")
    text = toast.inner_text()
    tab.get_by_test_id("toast-close").click()
    toast.wait_for(state="detached")
    tab.wait_for_function("window.streams === 0")
    return text


@needs_gradio
def test_a_visit(new_tab, film, tmp_path):
    tab = new_tab()
    upload(tab, film, T)
    ask(tab, RED, GREEN)
    reads(tab, f"Finished: {2 * T} masks.")
    assert tab.locator("#timelines svg[data-place]").count() == 2
    assert tab.locator("#timelines rect.mask").count() >= 1
    assert tab.locator("#view img").evaluate("image => image.naturalWidth") == 480

    bar = tab.locator("svg[data-place='1']")
    bar.click(position={"x": bar.bounding_box()["width"] * 4.5 / T, "y": 10})
    tab.get_by_text("starts at frame 4").wait_for()
    tab.locator("#timelines rect.waiting").first.wait_for(state="detached")  # what it said before is no longer there
    reads(tab, f"Finished: {2 * T} masks.")

    overlay = exported_film(tab, tmp_path)
    assert overlay.name == "film-overlay.mp4"
    assert len(open_frames(overlay)) == T


@needs_gradio
def test_it_fits_a_phone(new_tab, film):
    tab = new_tab()
    tab.set_viewport_size({"width": 390, "height": 800})
    upload(tab, film, T)
    ask(tab, RED, "the-one-with-a-name-that-has-no-blanks-and-goes-on-and-on-beyond-the-width-of-a-phone")
    reads(tab, f"Finished: {2 * T} masks.")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


@needs_gradio
def test_a_bad_file_and_a_long_one_get_a_sentence_and_the_film_before_stays(new_tab, film, tmp_path):
    tab = new_tab()
    bad, long = tmp_path / "bad.mp4", tmp_path / "long.mp4"
    bad.write_text("no film")
    write_film(long, 21)
    upload(tab, film, T)
    for refused, said in (
        (bad, "bad.mp4 cannot be read as a film"),
        (long, "long.mp4 has 21 frames, and this page takes 20; cut it"),
    ):
        tab.locator("input[type=file]").first.set_input_files(refused)
        text = refusal(tab)
        assert text.startswith(said) and "\n" not in text and str(tmp_path) not in text, text
    ask(tab, RED)
    reads(tab, f"Finished: {T} masks.")


@needs_gradio
def test_sentences_are_added_and_dropped_without_encoding_again(new_tab, film, always_seg, monkeypatch):
    counts = count_encoded(always_seg, monkeypatch)
    tab = new_tab()
    upload(tab, film, T)
    for sentences in ([RED], [RED, GREEN], [GREEN]):
        ask(tab, *sentences)
        reads(tab, f"Finished: {len(sentences) * T} masks.")
        assert tab.locator("#timelines svg[data-place]").count() == len(sentences)
    assert sum(counts) == T


@needs_gradio
def test_stop_ends_at_once_and_segment_goes_on(new_tab, film, always_seg, monkeypatch):
    decoded, decode, arrived, stop = [], always_seg.masks.decode, threading.Event(), Visitor.stop

    def slow(*arguments):
        decoded.append(1)
        if len(decoded) > 2:
            arrived.wait(SECONDS)
        return decode(*arguments)

    def stopped(visitor):
        stop(visitor)
        if len(decoded) > 2:
            arrived.set()

    monkeypatch.setattr(always_seg.masks, "decode", slow)
    monkeypatch.setattr(Visitor, "stop", stopped)
    tab = new_tab()
    upload(tab, film, T)
    ask(tab, RED)
    tab.get_by_text(f"2 of {T} masks.").wait_for()
    tab.locator("#stop").click()
    reads(tab, "Stopped; Segment goes on from here.")
    at_once = len(decoded)
    tab.wait_for_timeout(1000)
    assert len(decoded) == at_once < T - 2
    ask(tab, RED)
    reads(tab, f"Finished: {T} masks.")
    assert len(decoded) == T


@needs_gradio
def test_two_tabs_at_once_do_not_mix(new_tab, film, tmp_path):
    other = tmp_path / "other.mp4"
    write_film(other, 6)
    given = [(new_tab(), film, T, RED), (new_tab(), other, 6, GREEN)]
    for tab, video, length, _ in given:
        upload(tab, video, length)
    for tab, _, _, sentence in given:
        ask(tab, sentence)
    for tab, video, length, sentence in given:
        reads(tab, f"Finished: {length} masks.")
        assert sentence in tab.locator("#timelines").inner_text()
        assert tab.locator("#timelines svg[data-place]").count() == 1
        overlay = exported_film(tab, tmp_path)
        assert (overlay.name, len(open_frames(overlay))) == (f"{video.stem}-overlay.mp4", length)


@needs_gradio
def test_one_visitor_too_many_gets_a_sentence_and_is_let_in_when_another_leaves(new_tab, film):
    first, second, third = new_tab(), new_tab(), new_tab()
    for tab in (first, second):
        upload(tab, film, T)
    choose(third, film)
    assert refusal(third).startswith("This page is in use in 2 tabs, and takes no more")
    first.close()
    opened, refused = third.get_by_text(f"{film.name}: {T} frames"), third.get_by_test_id("toast-text")

    def is_let_in() -> bool:
        choose(third, film)
        opened.or_(refused).first.wait_for()
        return opened.is_visible() or not refusal(third)

    assert comes_true(is_let_in)  # the server learns a moment later of it


@needs_gradio
@pytest.mark.parametrize("ending", ["ctrl-c", "the parent ends"])
def test_the_command_ends_in_a_line_and_leaves_nothing(ending, model, tmp_path):
    save_glus(model, merged_state_dict(model), tmp_path / "model")
    own = tmp_path / "temporary"
    own.mkdir()
    port = free_port()
    command = [sys.executable, "-c", PATIENT, "app", "--model", tmp_path / "model", "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(own)}
    if ending == "the parent ends":
        command = [sys.executable, "-c", PARENT, *command]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=-1, stderr=-1) as started:
        assert started.stdout.readline() == f"The page is at http://127.0.0.1:{port}/ (Ctrl-C ends it).\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.status == 200
        assert list(own.glob("glus-app-*"))
        at_work = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
        started.send_signal(signal.SIGINT if ending == "ctrl-c" else signal.SIGKILL)
        assert all_gone(at_work)
        out, err = started.communicate()
    assert (out, err) == ("Ended; what visitors uploaded and exported is removed.\n", "")
    assert started.returncode == (0 if ending == "ctrl-c" else -signal.SIGKILL)
    assert not list(own.glob("glus-app-*"))


PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"
PATIENT = """
from glus.execution import ties
ties.SECONDS_TO_STOP = 60.0  # a busy machine may take longer to put things in order than the command gives itself
from glus.__main__ import main
main()
"""


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
