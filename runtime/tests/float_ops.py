"""Float ops of the runtime's own, each appended to a `Builder` behind a tensor that it is given."""

import numpy as np
from tflite_models import NONE

__all__ = [
    "binary",
    "centred",
    "clip",
    "max_pool",
    "mean",
    "numbers",
    "pad",
    "prelu",
    "sliced",
    "then",
]

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.normal(0, 2, shape).astype(np.float32)


def binary(name, constant=None, is_first=True, activation=NONE):
    """With another tensor, the same twice if there is no constant."""
    kind = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[name]

    def append(b, x):
        shape = b.graph.tensors[x].shape
        other = x if constant is None else b.constant(constant)
        inputs = [x, other] if is_first else [other, x]
        return b.builtin(name, inputs, shape, kind, fusedActivationFunction=activation)

    return append


def clip(name):
    return lambda b, x: b.builtin(name, [x], b.graph.tensors[x].shape)


def prelu(slopes):
    return lambda b, x: b.builtin("PRELU", [x, b.constant(slopes)], b.graph.tensors[x].shape)


def mean(axes, keeps=True):
    def append(b, x):
        shape = list(b.graph.tensors[x].shape)
        places = [axis % len(shape) for axis in axes]
        left = [1 if i in places else n for i, n in enumerate(shape) if keeps or i not in places]
        constant = b.constant(np.array(axes, np.int32))
        return b.builtin("MEAN", [x, constant], left, "ReducerOptions", keepDims=keeps)

    return append


def max_pool(window, stride, padding, activation=NONE):
    def append(b, x):
        n, *size, channels = b.graph.tensors[x].shape
        sizes = zip(size, window, stride, strict=True)
        result = [-(-(i if padding == 0 else i - k + 1) // s) for i, k, s in sizes]
        options = {"padding": padding, "fusedActivationFunction": activation}
        options |= {"filterHeight": window[0], "filterWidth": window[1]}
        options |= {"strideH": stride[0], "strideW": stride[1]}
        shape = [n, *result, channels]
        return b.builtin("MAX_POOL_2D", [x], shape, "Pool2DOptions", **options)

    return append


def sliced(begin, end, step, begin_mask=9, end_mask=15, **masks):
    def append(b, x):
        shape = b.graph.tensors[x].shape
        ranges = [
            range(n)[0 if begin_mask >> i & 1 else f : n if end_mask >> i & 1 else t : s]
            for i, (n, f, t, s) in enumerate(zip(shape, begin, end, step, strict=True))
        ]
        constants = [b.constant(np.array(v, np.int32)) for v in (begin, end, step)]
        result = [len(r) for r in ranges]
        options = {"beginMask": begin_mask, "endMask": end_mask, "ellipsisMask": 0}
        options |= {"newAxisMask": 0, "shrinkAxisMask": 0, "offset": False} | masks
        return b.builtin("STRIDED_SLICE", [x, *constants], result, "StridedSliceOptions", **options)

    return append


def pad(*sizes):
    def append(b, x):
        shape = [n + sum(s) for n, s in zip(b.graph.tensors[x].shape, sizes, strict=True)]
        return b.builtin("PAD", [x, b.constant(np.array(sizes, np.int32))], shape, "PadOptions")

    return append


def then(*appends):
    def append(b, x):
        for one in appends:
            x = one(b, x)
        return x

    return append


def centred(b, x):
    """As `sample_sign` has it: less the mean of each sample."""
    means = mean([3])(b, mean([1, 2])(b, x))
    return b.builtin("SUB", [x, means], b.graph.tensors[x].shape, "SubOptions")
