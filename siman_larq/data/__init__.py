"""Data sets and input pipelines."""

from siman_larq.choices import DATASET_NAMES
from siman_larq.data.damage import damage_explained
from siman_larq.data.datasets import load
from siman_larq.data.errors import DatasetCorruptError, DatasetNotFoundError
from siman_larq.data.images import ImageData
from siman_larq.data.pipeline import eval_batches, prepare, steps_per_epoch, train_batches
from siman_larq.data.sources import ImageSource, MemorySource, Share
from siman_larq.data.streaming import StreamedSource, stream

__all__ = [
    "DATASET_NAMES",
    "DatasetCorruptError",
    "DatasetNotFoundError",
    "ImageData",
    "ImageSource",
    "MemorySource",
    "Share",
    "StreamedSource",
    "damage_explained",
    "eval_batches",
    "load",
    "prepare",
    "steps_per_epoch",
    "stream",
    "train_batches",
]
