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
            ValueError: for other names than the inputs', or values that are not of their type.
            ModelError: If the network cannot be run at these sizes.
        """
        if inputs.keys() != set(self._names):
            raise ValueError(
                f"{self._key}: inputs {sorted(inputs)}; it takes {sorted(self._names)}, by name."
            )
        values = {
            name: self._inputs.checked_values(index, inputs[name])
            for index, name in enumerate(self._names)
        }
        return self._engine.run_signature(self._key, values)


def key_of(key: "str | None", known: "dict[str, Any]") -> str:
    """The signature that is meant; `None` means the only one."""
    if not known:
        raise ValueError("get_signature_runner: the model has no signatures; use predict.")
    if key is None and len(known) == 1:
        return next(iter(known))
    if key not in known:
        raise ValueError(f"get_signature_runner: signature_key={key!r}; it has {sorted(known)}.")
    return key
