"""What a training ran on, which decides its order of sums and so, like a seed, its outcome."""

import os
import platform

import tensorflow as tf

__all__ = ["machine"]


def machine() -> str:
    """System, processor, number of cores and GPUs, for people to read."""
    kinds = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    gpus = ", ".join(kinds) or "no GPU"
    return f"{platform.system()} on {platform.machine()}, {os.cpu_count()} CPU cores, {gpus}"
