"""The page on a port of this machine, until Ctrl-C; what visitors left is removed then."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glus.app.visitor import Service
from glus.errors import InputError

LARGEST_UPLOAD = "2gb"
SECONDS_TO_END = 1.5  # for the frame that is being computed


def require_gradio() -> None:
    """The page's library is there; it is told to tell nobody.

    Raises:
        InputError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"`glus app` needs gradio, which is not installed ({error}). Install it beside GLUS:"
            " `pip install 'glus[app]'`, or `make setup` in the clone."
        ) from error


def is_loopback(host: str) -> bool:
    """Whether an address leads to this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_port(host: str, port: int) -> None:
    """The page can be served there.

    Raises:
        InputError: the port is taken, or the host is no address of this machine.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port} cannot be served ({why}); give another --port or --host.") from error


def serve(service: Service, host: str, port: int, most_visitors: int, ready: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C or SIGTERM.

    Args:
        most_visitors: at once.
        ready: called with the page's address once it answers.
    """
    with _ended_by_signals() as ended, opened_page(service, host, port, most_visitors) as address:
        ready(address)
        ended.wait()


@contextmanager
def opened_page(service: Service, host: str, port: int, most_visitors: int) -> Iterator[str]:
    """The page, as long as the context lasts; its address. Then all files of its visitors are removed."""
    from glus.app.drawing import STYLE
    from glus.app.examples import write_examples
    from glus.app.page import build_page
    from glus.app.replies import Replies
    from glus.app.theme import theme
    from glus.app.visitors import Visitors

    with tempfile.TemporaryDirectory(prefix="glus-app-", ignore_cleanup_errors=True) as folder:
        uploads = Path(folder, "uploads")
        uploads.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(uploads)  # read where gradio's components are made
        # below the uploads: what is exported is served from where it lies, and not copied
        visitors = Visitors(service, uploads / "visitors", most_visitors)
        page = build_page(Replies(visitors, write_examples(Path(folder, "examples"))))
        page.queue(default_concurrency_limit=None)
        try:
            _, address, _ = page.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                inbrowser=False,
                ssr_mode=False,
                pwa=False,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                max_file_size=LARGEST_UPLOAD,
                theme=theme(),
                css=STYLE,
            )
            yield address
        finally:
            visitors.stop()
            if service.at_work.acquire(timeout=SECONDS_TO_END):
                service.at_work.release()
            page.close(verbose=False)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
