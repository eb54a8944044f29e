"""What one visitor has: a video, sentences and the masks found so far. It knows no web page."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from PIL import Image

from glus.api import GLUS, KeyFrameSelector
from glus.app.sentences import AskedSentence, typed_sentences
from glus.errors import InputError
from glus.inference.encoder import VideoEncoder
from glus.inference.passes import PropagationSettings
from glus.inference.session import SegmentedFrame, VideoSession
from glus.media.sources import FrameSource, open_frames
from glus.segmenting.rows import found_masks

YIELD_S = 0.001  # long enough for who waits for a lock to take it
KEPT_BYTES = 1 << 30  # of a visitor's encoded frames, which serve the sentences that come later


@dataclass(frozen=True)
class Service:
    """What all visitors share.

    Attributes:
        model: in evaluation mode.
        selector: chooses key frames; None: sentences start at the first frame.
        window_stride: see `PropagationSettings`.
        most_frames: of a video.
        most_sentences: at once, of a visitor.
        at_work: held while a frame is computed, so that visitors take turns.
    """

    model: GLUS
    selector: KeyFrameSelector | None
    window_stride: int
    most_frames: int
    most_sentences: int
    at_work: threading.Lock = field(default_factory=threading.Lock)


class _StoppedError(Exception):
    """The visitor stopped, or asked anew."""


class Visitor:
    """A video, its sentences, and the masks found so far.

    Methods may be called from several threads. `open`, `ask`, `start_at` and `close` wait for the frame that is being
    computed.

    Attributes:
        folder: made when it is needed, removed by `close`.
        clip: the video; None before `open`.
        sentences: in the order of their colours.
        shown: place of the frame that was segmented or looked at last.
        seen: when the page was last drawn for the visitor, by the monotonic clock.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.folder = folder
        self.clip: FrameSource | None = None
        self.sentences: list[AskedSentence] = []
        self.shown = 0
        self.seen = time.monotonic()
        self._service = service
        self._encoder: VideoEncoder | None = None
        self._session: VideoSession | None = None
        self._in_session: dict[int, AskedSentence] = {}  # by their numbers there
        self._turn: object | None = object()  # of `segment`: a later one ends those before it; None: stopped
        self._own = threading.RLock()
        self._video = threading.Lock()  # held while the video is replaced
        self._reading = threading.Lock()

    def open_upload(self, upload: Path) -> None:
        """Moves an uploaded file into the visitor's folder, then as `open`; of a refused one nothing stays."""
        own = self.folder / f"upload-{uuid4().hex}" / upload.name
        own.parent.mkdir(parents=True)
        shutil.move(upload, own)
        try:
            self.open(own, upload.name)
        except BaseException:
            shutil.rmtree(own.parent)
            raise
        for before in set(self.folder.glob("upload-*")) - {own.parent}:
            shutil.rmtree(before, ignore_errors=True)

    def open(self, video: Path, name: str) -> None:
        """Takes a video instead of the one before, and forgets what was found there.

        Args:
            name: what the visitor calls it.

        Raises:
            InputError: no video, or one that is too long; the one before is kept.
        """
        try:
            source = open_frames(video)
        except InputError as fault:
            raise InputError(str(fault).replace(str(video), name)) from fault
        if len(source) > self._service.most_frames:
            raise InputError(
                f"{name} has {len(source)} frames, and this page takes {self._service.most_frames}; cut it, or start"
                " `glus app` with a higher --max-frames."
            )
        self.stop()
        with self._own:
            clip = replace(source, name=name, read=self._one_at_a_time(source))
            self._encoder, self._session = VideoEncoder(self._service.model, clip, KEPT_BYTES), None
            with self._video:
                self.clip, self.sentences, self.shown = clip, [], 0

    def ask(self, texts: Sequence[str]) -> None:
        """Makes these the sentences: new ones are added, those that are missing are dropped, the others stay as found.

        Raises:
            InputError: no sentence, too many or too long ones, or one that cannot be asked; nothing is changed.
        """
        wanted = typed_sentences(texts, self._service.most_sentences, self._service.model.tokenizer.marks)
        with self._own:
            known = {asked.text: asked for asked in self.sentences}
            for text in known.keys() - set(wanted):
                self._leave_session(known[text])
            self.sentences = [known.get(text) or AskedSentence(text) for text in wanted]

    def start_at(self, place: int, frame: int) -> None:
        """Has a sentence start at another frame: it is segmented anew.

        Args:
            place: of the sentence.

        Raises:
            InputError: there is no such sentence or frame.
        """
        with self._own:
            if self.clip is None or not 0 <= place < len(self.sentences) or not 0 <= frame < len(self.clip):
                raise InputError("That sentence or frame is not there any more; press Segment.")
            asked = self.sentences[place]
            self._leave_session(asked)
            asked.key_frame, asked.found = frame, {}

    def look_at(self, frame: int) -> None:
        """Shows another frame.

        Raises:
            InputError: there is none.
        """
        with self._video:
            if self.clip is None:
                raise InputError("Choose a video first.")
            self.shown = min(max(frame, 0), len(self.clip) - 1)

    def segment(self) -> Iterator[int]:
        """Segments what is not finished, from where it was stopped; yields the place of each frame as it is done.

        Raises:
            InputError: no video, or a sentence that the model cannot be asked.
        """
        if self.clip is None:
            raise InputError("Choose a video first.")
        turn = self._turn = object()
        while True:
            with self._own:
                try:
                    self._go_on(turn)
                    frame = self._step(turn)
                except _StoppedError:
                    return
            if frame is None:
                return
            yield frame

    def stop(self) -> None:
        """Ends `segment` after the frame that is being computed; the next `segment` goes on from there.

        The selector, which looks at the whole video, ends after a part of it and looks again next time.
        """
        self._turn = None

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` came after the last `segment`."""
        return self._turn is None

    def _go_on(self, turn: object) -> None:
        if turn is not self._turn:
            raise _StoppedError

    def close(self) -> None:
        """Ends the work and removes the visitor's files."""
        self.stop()
        with self._own:
            self._encoder = self._session = None
            with self._video:
                self.clip, self.sentences = None, []
            shutil.rmtree(self.folder, ignore_errors=True)

    def now(self) -> tuple[FrameSource | None, list[AskedSentence], int]:
        """Clip, sentences and the frame that is shown, as they are at one moment; no frame is waited for."""
        self.seen = time.monotonic()
        with self._video:
            sentences = [replace(asked, found=dict(asked.found)) for asked in self.sentences]
            return self.clip, sentences, self.shown

    def _step(self, turn: object) -> int | None:
        """Computes a frame; None: all is finished."""
        with self._service.at_work:
            try:
                while self._session is not None or self._begin(turn):
                    assert self._session is not None
                    frame = next(self._session, None)
                    if frame is not None:
                        self._record(frame)
                        return frame.index
                    self._session = None
            except BaseException:
                self._session = None  # it may stand between two frames
                raise
        return None

    def _begin(self, turn: object) -> bool:
        """Starts a session with the sentences that are not finished, if there are any."""
        assert self.clip is not None and self._encoder is not None
        waiting = [asked for asked in self.sentences if len(asked.found) < len(self.clip)]
        if not waiting:
            return False
        self._choose_key_frames([asked for asked in waiting if asked.scores is None], turn)
        service = self._service
        settings = PropagationSettings(
            dynamic_multimask=service.model.settings.dynamic_multimask, window_stride=service.window_stride
        )
        session = VideoSession(service.model, self._encoder, settings)
        self._in_session = {session.add(asked.text, key_frame=asked.key_frame): asked for asked in waiting}
        for asked in waiting:
            asked.found.clear()
        self._session = session
        return True

    def _choose_key_frames(self, new: list[AskedSentence], turn: object) -> None:
        """The best frame of the selector, or the first, for sentences of which the visitor has chosen none."""
        assert self.clip is not None
        if self._service.selector is not None and new:
            texts = [asked.text for asked in new]
            scores = self._service.selector.score(self.clip, texts, go_on=lambda: self._let_others_work(turn))
            for asked, row in zip(new, scores.float().cpu().numpy(), strict=True):
                asked.scores = row
        for asked in new:
            if asked.key_frame is None:
                asked.key_frame = 0 if asked.scores is None else int(asked.scores.argmax())

    def _let_others_work(self, turn: object) -> None:
        """Lets another visitor compute a frame in the midst of long work.

        Raises:
            _StoppedError: the visitor wants no more.
        """
        self._service.at_work.release()
        time.sleep(YIELD_S)
        self._service.at_work.acquire()
        self._go_on(turn)

    def _record(self, frame: SegmentedFrame) -> None:
        for number, found in found_masks(frame):
            self._in_session[number].found[frame.index] = found
        with self._video:
            self.shown = frame.index

    def _leave_session(self, asked: AskedSentence) -> None:
        for number, other in list(self._in_session.items()):
            if other is asked and self._session is not None:
                self._session.drop(number)
                del self._in_session[number]

    def _one_at_a_time(self, source: FrameSource) -> Callable[[int], Image.Image]:
        """Reads frames of a film, which has one place, for the page and for the model."""

        def read(index: int) -> Image.Image:
            with self._reading:
                return source.read(index)

        return read
