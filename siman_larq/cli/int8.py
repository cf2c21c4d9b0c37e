"""Images that the ranges of an int8 file are measured on, and that tell how good it is."""

from pathlib import Path
from typing import Any

from siman_larq.cli.inputs import first_images, image_shape, images_of_run, read_images, say
from siman_larq.cli.start import one_sentence

__all__ = ["Int8Images"]

_BATCH, _SAMPLES, _JUDGED = 64, 512, 1000


class Int8Images:
    """Samples for `convert`, and images to judge its file on.

    # Arguments
        network: The model.
        samples: A file of samples, which the int8 file is judged on too; or
        run_dir: a run folder, whose training images are the samples. The file is judged on its
            test images, or those held out in their place, of which also the classes are known.
    """

    def __init__(self, network: Any, samples: Path | None, run_dir: Path | None) -> None:
        self._network, self._labels = network, None
        with one_sentence(ImportError, OSError, TypeError, ValueError):
            if samples is not None:
                self.samples = read_images(samples)
                self._judged, self._what = first_images(self.samples, _JUDGED), "samples"
            else:
                self._read(run_dir)

    def _read(self, run_dir: Any) -> None:
        import numpy as np

        shape = image_shape(self._network)
        source, self._what = images_of_run(run_dir)
        size = min(_BATCH, source.train_count)
        batches = source.train_batches(
            batch_size=size, image_shape=shape, seed=0, first_epoch=0, epochs=1
        ).take(-(-_SAMPLES // size))
        self.samples = np.concatenate([images for images, _ in batches.as_numpy_iterator()])
        self._judged, self._labels = source.test_sample(_JUDGED, shape)

    def rows(self, tflite: bytes) -> list[tuple[str, str]]:
        """How a file compares with the model, in words."""
        import siman_larq
        from siman_larq.conversion.comparison import share_right

        say("comparing it with the model")
        report = siman_larq.verify(self._network, tflite, self._judged)
        of = f"of {report.images:,} {self._what}"
        rows = [("int8 operators", str(report.int8_operators))]
        if report.agreement is None:
            return [*rows, ("largest difference", f"{report.max_abs_difference:.3g} {of}")]
        if self._labels is not None:
            for name, outputs in (
                ("accuracy, float32", report.keras_outputs),
                ("accuracy, int8", report.tflite_outputs),
            ):
                share = share_right(outputs, self._labels)
                told = "unknown: outputs are no single row of classes for each image"
                rows.append((name, told if share is None else f"{share:.2%} {of}"))
        return [*rows, ("agreement of top-1", f"{report.agreement:.2%} {of}")]
