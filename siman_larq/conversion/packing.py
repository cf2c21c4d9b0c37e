"""Which binary layers of a model are 1-bit in a TFLite file, told from the weights in it.

Names do not tell: the converter merges, cuts and drops them.
"""

from collections import defaultdict

import numpy as np

from siman_larq.conversion.flatbuffer import BinaryConvolution, TFLiteModel
from siman_larq.conversion.layers import BinaryLayer

__all__ = ["Packing", "packing"]


class Packing:
    """For each binary layer, in the model's order, the `LceBconv2d` ops with its kernel.

    # Attributes
        ops: The ops of each layer by its name; of layers that are not 1-bit in the file, none.
    """

    def __init__(self, ops: dict[str, list[BinaryConvolution]]) -> None:
        self.ops = ops

    @property
    def packed(self) -> list[str]:
        return [name for name, ops in self.ops.items() if ops]

    @property
    def left_float(self) -> list[str]:
        return [name for name, ops in self.ops.items() if not ops]


def packing(layers: list[BinaryLayer], file: TFLiteModel) -> Packing:
    """Finds the kernels of binary layers among the weights of a file's convolutions."""
    packed_codes = defaultdict(list)
    float_codes = [kernel < 0 for kernel in file.float_convolutions]
    signatures = {layer.name: _signature(layer) for layer in layers}
    ops: dict[str, list[BinaryConvolution]] = {}
    for layer in layers:
        signature = signatures[layer.name]
        if signature is None:
            ops[layer.name] = []
            continue
        key = (signature.shape, signature.tobytes())
        if key not in packed_codes:
            packed_codes[key] = [
                op for op in file.binary_convolutions if _equal(op.bits, signature)
            ]
        ops[layer.name] = packed_codes[key]
    return Packing(_without_float_ones(layers, signatures, ops, float_codes))


def _without_float_ones(layers, signatures, ops, float_codes):
    """Layers of one code (equal initial weights, say) share the ops found for it.

    Where there are fewer ops than layers, or a float convolution has this code too, the layers
    with an obstacle are the float ones; without any, all may be.
    """
    groups = defaultdict(list)
    for layer in layers:
        signature = signatures[layer.name]
        if signature is not None:
            groups[signature.shape, signature.tobytes()].append(layer)
    for group in groups.values():
        signature = signatures[group[0].name]
        is_float = any(_equal(code, signature) for code in float_codes)
        if len(ops[group[0].name]) >= len(group) and not is_float:
            continue
        suspects = [layer for layer in group if layer.obstacle()]
        for layer in suspects or group:
            ops[layer.name] = []
    return ops


def _signature(layer: BinaryLayer) -> np.ndarray | None:
    """True for the lower level, shape (filters, height, width, channels); None if not 4-D."""
    kernel = layer.kernels()[0]
    if kernel.ndim != 4 or len(layer.kernels()) != 1:
        return None
    negative = kernel < 0 if (kernel < 0).any() else kernel == 0
    return _canonical(np.transpose(negative, (3, 0, 1, 2)))


def _equal(bits: np.ndarray, signature: np.ndarray) -> bool:
    channels = signature.shape[-1]
    if bits.shape[:3] != signature.shape[:3]:
        return False
    # LCE fills channels up to 32.
    if bits.shape[3] not in (channels, -(-channels // 32) * 32):
        return False
    return bool((_canonical(bits[..., :channels]) == signature).all())


def _canonical(bits: np.ndarray) -> np.ndarray:
    # A negative scale may have been fused, which turns a filter's signs.
    return bits ^ bits[:, :1, :1, :1]
