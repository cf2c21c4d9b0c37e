"""What a camera sees and what a model sees in it, one view after the other."""

import dataclasses
import functools
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from siman_runtime.classifier import Classifier, Guess
from siman_runtime.commands import sentence
from siman_runtime.errors import EndedError
from siman_runtime.frames import Source, open_source

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["View", "Watcher"]

_PAUSE = 2.0  # before a source is tried again
_BEST = 5


@dataclasses.dataclass(frozen=True)
class View:
    """A picture and what the model sees in it, or the sentence why there is none."""

    picture: "Image.Image | None" = None
    best: "list[Guess]" = dataclasses.field(default_factory=list)
    milliseconds: float = 0.0
    rate: float = 0.0
    error: str = ""

    @functools.cached_property
    def jpeg(self) -> bytes:
        """Made once for all who look, and not if nobody does."""
        content = io.BytesIO()
        if self.picture is not None:
            self.picture.convert("RGB").save(content, "JPEG", quality=85)
        return content.getvalue()

    @functools.cached_property
    def event(self) -> str:
        told = {name: getattr(self, name) for name in ("milliseconds", "rate", "error")}
        return json.dumps(told | {"best": [guess._asdict() for guess in self.best]})


class Watcher:
    """Reads pictures and classifies them, in a thread of its own, the only one that has the source.

    # Arguments
        classifier: For the pictures.
        name: Of the source, as `open_source` takes it.
        show: Called with each new `View`.
    """

    def __init__(self, classifier: Classifier, name: str, show: Callable[[View], None]) -> None:
        self._classifier, self._name, self._show = classifier, name, show
        self._ends = threading.Event()
        self._times: deque[float] = deque(maxlen=30)  # of the last pictures
        self._source: Source | None = open_source(name)

    def run(self) -> None:
        """Until `end`. A source that fails is closed, and opened again after a pause.

        # Raises
            EndedError: for a model whose process is dead: a new start of the command is the cure.
        """
        said = ""
        while not self._ends.is_set():
            try:
                self._source = self._source or open_source(self._name)
                view = self._look(self._source)
            except EndedError:
                self._close()
                raise
            except Exception as error:  # libraries of cameras raise many kinds
                self._close()
                view = View(error=sentence(error))
            if view.error and view.error != said:
                print(view.error, flush=True)
            said = view.error
            self._show(view)
            if view.error:
                self._ends.wait(_PAUSE)
        self._close()

    def end(self) -> None:
        self._ends.set()

    def _close(self) -> None:
        self._times.clear()
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _look(self, source: Source) -> View:
        picture = source.read()
        values = self._classifier.prepared(picture)
        start = time.perf_counter()
        scores = self._classifier.scores(values)
        now = time.perf_counter()
        self._times.append(now)
        spent = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / spent if spent > 0 else 0.0
        return View(picture, self._classifier.best(scores, _BEST), 1000 * (now - start), rate)
