"""What gives any factory of Larq Zoo a SiMaN form."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import larq as lq
import tensorflow as tf
from larq_zoo.core.model_factory import ModelFactory
from zookeeper import Field

from siman_larq._scopes import no_metrics
from siman_larq.zoo.binarize import Binarizer
from siman_larq.zoo.replacements import LEVELS, no_constraint

__all__ = ["SiMaNFactory"]

_Quantizer: TypeAlias = str | dict | lq.quantizers.Quantizer | Callable
_Constraint: TypeAlias = str | dict | tf.keras.constraints.Constraint | Callable | None


class SiMaNFactory(ModelFactory):
    """Mixin that gives any factory of Larq Zoo a SiMaN form; it goes before the factory.

    The stock factory builds its model with its own quantizers, also loads its own weights into
    it, and then `siman_larq.zoo.binarize` replaces them; so all of the factory's fields work as
    they do without the mixin.

    !!! example
        ```python
        @zookeeper.factory
        class MyFactory(SiMaNFactory, BiRealNetFactory):
            filters = Field(32)


        factory = MyFactory()
        zookeeper.configure(factory, {"num_classes": 10, "levels": (0, 1)})
        model = factory.build()
        ```

    # Arguments
        levels: As for `binarize`.
        threshold: As for `binarize`.
        kernel_quantizer: As for `binarize`; defaults to a dict of `SiMaNQuantizer` with `levels`
            and `threshold`.
        kernel_constraint: As for `binarize`.
        input_quantizer: As for `binarize`.
    """

    levels: Sequence[float] = Field(LEVELS)
    threshold: str | float = Field("median")
    kernel_constraint: _Constraint = Field("percentile_clip")
    input_quantizer: _Quantizer | None = Field(None)
    # The stock annotation knows not the Keras tensors of today, and zookeeper refuses them.
    input_tensor: Any = Field(None)

    @Field
    def kernel_quantizer(self) -> _Quantizer:
        config = {"levels": list(self.levels), "threshold": self.threshold}
        return {"class_name": "siman", "config": config}

    def build(self) -> tf.keras.Model:
        binarizer = Binarizer(
            self.levels,
            self.threshold,
            self.kernel_quantizer,
            self.kernel_constraint,
            self.input_quantizer,
        )
        # Some factories share a quantizer between layers, which Larq's metrics do not survive.
        with self._stock_quantizers(), no_metrics():
            model = super().build()
        # On the same inputs, which are the user's `input_tensor` if there is one.
        return binarizer(model, model.inputs)

    @contextlib.contextmanager
    def _stock_quantizers(self) -> Iterator[None]:
        """What the stock factory reads from itself is its own, not this one's fields.

        RealToBinaryNet looks for the names of its quantizers before it loads weights.
        """
        stock = {
            "input_quantizer": super().input_quantizer,
            "kernel_quantizer": super().kernel_quantizer,
            "kernel_constraint": super().kernel_constraint or no_constraint,
        }
        cached = {name: self.__dict__[name] for name in stock if name in self.__dict__}
        # Past zookeeper, which lets nobody set fields any more once they are configured.
        self.__dict__.update(stock)
        try:
            yield
        finally:
            for name in stock:
                del self.__dict__[name]
            self.__dict__.update(cached)
