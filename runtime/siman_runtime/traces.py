"""What goes into the binary convolutions of an interpreter, of each thread that runs it."""

import contextlib
import threading
from collections.abc import Iterator

import numpy as np

from siman_runtime import library

__all__ = ["Traces"]


class Traces(threading.local):
    """What went into the binary convolutions in this thread's last run of an interpreter."""

    def __init__(self) -> None:
        self._steps: dict[int, list[np.ndarray]] = {}

    def forget(self) -> None:
        """Begins a run."""
        self._steps = {}

    @contextlib.contextmanager
    def step(self, share: float) -> "Iterator[None]":
        """Keeps what a step of the run gives, of that share of its samples that count."""
        library.trace(True)
        try:
            yield
            of_step: dict[int, list[np.ndarray]] = {}
            for operator, bits in library.traced():
                of_step.setdefault(operator, []).append(bits)
        finally:
            library.trace(False)
        for operator, parts in of_step.items():
            bits = np.concatenate(parts)
            self._steps.setdefault(operator, []).append(bits[: round(share * len(bits))])

    def of_last_run(self) -> "dict[int, np.ndarray]":
        """For the number of each convolution among the file's operators its bits, as words."""
        return {operator: np.concatenate(parts) for operator, parts in self._steps.items()}
