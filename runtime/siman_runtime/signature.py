"""A signature of a file: its inputs and outputs by name."""

from typing import TYPE_CHECKING, Any

import numpy as np

from siman_runtime.inputs import Inputs

if TYPE_CHECKING:
    from siman_runtime.engine import Engine
    from siman_runtime.isolated import IsolatedEngine

__all__ = ["SignatureRunner", "key_of"]


class SignatureRunner:
    """Computes a signature; `Interpreter.get_signature_runner` makes it.

    !!! example
        ```python
        classify = interpreter.get_signature_runner()
        scores = classify(images=images)["scores"]
        ```
    """

    def __init__(self, engine: "Engine | IsolatedEngine", key: str) -> None:
        self._engine, self._key = engine, key
        details = self.get_input_details()
        self._names = list(details)
        self._inputs = Inputs(list(details.values()), caller=key)

    def get_input_details(self) -> "dict[str, dict[str, Any]]":
        """What the runtime says of each input, by its name."""
        return self._engine.signature(self._key)[0]

    def get_output_details(self) -> "dict[str, dict[str, Any]]":
        """What the runtime says of each output, by its name."""
        return self._engine.signature(self._key)[1]

    def __call__(self, **inputs: Any) -> "dict[str, np.ndarray]":
        """The outputs by name, at the sizes of these inputs.

        # Raises
            ValueError: for other names than the inputs', or values of another type or shape than
                they had when this was made; free are the first axis, which counts samples, and
                those that the file leaves open.
            ModelError: If the network cannot be run at these sizes.
        """
        if inputs.keys() != set(self._names):
            raise ValueError(
                f"{self._key}: inputs {sorted(inputs)}; it takes {sorted(self._names)}, by name."
            )
        values = {
            name: self._checked(index, inputs[name]) for index, name in enumerate(self._names)
        }
        return self._engine.run_signature(self._key, values)

    def _checked(self, index: int, given: Any) -> np.ndarray:
        """The runtime itself takes all shapes, and computes nonsense of those that do not fit."""
        value, signature = self._inputs.checked_values(index, given), self._inputs.signatures[index]
        allowed = tuple(-1 if axis == 0 else size for axis, size in enumerate(signature))
        if _fits(value.shape, allowed):
            return value
        told = ", ".join("1 or more" if size == -1 else str(size) for size in allowed)
        cure = ": the first axis counts samples, as in x[np.newaxis]"
        raise ValueError(
            f"{self._key}: {self._names[index]} of shape {value.shape}; it takes ({told})"
            f"{cure if _fits(value.shape, allowed[1:]) else ''}."
        )


def _fits(shape: "tuple[int, ...]", allowed: "tuple[int, ...]") -> bool:
    return len(shape) == len(allowed) and all(
        n > 0 and size in (-1, n) for n, size in zip(shape, allowed, strict=True)
    )


def key_of(key: "str | None", known: "dict[str, Any]") -> str:
    """The signature that is meant; `None` means the only one."""
    if not known:
        raise ValueError("get_signature_runner: the model has no signatures; use predict.")
    if key is None and len(known) == 1:
        return next(iter(known))
    if key not in known:
        raise ValueError(f"get_signature_runner: signature_key={key!r}; it has {sorted(known)}.")
    return key
