"""The bits that go into the ops of an interpreter, of each thread that runs it."""

import threading

import numpy as np

__all__ = ["Traces"]


class Traces(threading.local):
    """The bits that went into ops in this thread's last run of an interpreter."""

    def __init__(self) -> None:
        self._steps: dict[int, list[np.ndarray]] = {}

    def forget(self) -> None:
        """Begins a run."""
        self._steps = {}

    def add(self, traced: "list[tuple[int, np.ndarray]]", share: float) -> None:
        """Keeps what a step of the run gave, of that share of its samples that count."""
        of_step: dict[int, list[np.ndarray]] = {}
        for operator, bits in traced:
            of_step.setdefault(operator, []).append(bits)
        for operator, parts in of_step.items():
            bits = np.concatenate(parts)
            self._steps.setdefault(operator, []).append(bits[: round(share * len(bits))])

    def of_last_run(self) -> "dict[int, np.ndarray]":
        """For the number of each op among the file's operators its bits, as words."""
        return {operator: np.concatenate(parts) for operator, parts in self._steps.items()}
