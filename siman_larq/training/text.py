"""The words and tables of a report."""

from collections.abc import Sequence
from typing import Any

__all__ = ["duration", "markdown", "table", "tested_on"]


def tested_on(recipe: dict[str, Any]) -> str:
    """What the images are that a run is tested on, in the plural."""
    return "held-out training images" if recipe["held_out"] else "test images"


def table(figures: dict[str, Any]) -> str:
    """The figures of report.json that matter most, as aligned lines."""
    recipe = figures["recipe"]
    tests = f"{figures['test_images']:,} {tested_on(recipe).removeprefix('test ')}"
    rows = [(f"accuracy, Keras, {tests}", f"{figures['keras_accuracy']:.2%}")]
    if figures["keras_top5"] is not None:
        rows.append((f"top-5, Keras, {tests}", f"{figures['keras_top5']:.2%}"))
    if "size_bytes" in figures:
        rows += _rows_of_file(figures)
    if figures["training_seconds"]:
        rows.append(("training time", _time(figures)))
    is_first = recipe["style"] == "reactnet" and recipe["two_steps"]
    if decay := recipe["weight_decay" if is_first else "binary_decay"]:
        when = " in the first half" if recipe["two_steps"] else ""
        rows.append(("l2 on binary kernels", f"{decay:g}{when}"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _rows_of_file(figures: dict[str, Any]) -> list[tuple[str, str]]:
    size, least, full = (figures[f"{key}_bytes"] for key in ("size", "theoretical", "float32"))
    n = figures["verified_images"]
    binary = len(figures["packed"]) + len(figures["left_float"])
    rows = [
        (f"accuracy, Keras, first {n:,}", f"{figures['keras_accuracy_verified']:.2%}"),
        (f"accuracy, TFLite, first {n:,}", f"{figures['tflite_accuracy_verified']:.2%}"),
        ("agreement of top-1", f"{figures['agreement']:.2%}"),
        *([("layer by layer", figures["layers"])] if figures.get("layers") else []),
        (f"images equal within {figures['tolerance']:.2g}", f"{figures['equal']:.2%}"),
        ("largest difference of outputs", f"{figures['max_abs_difference']:.2g}"),
        ("kernel that ran the file", figures["kernel"]),
        ("file size", f"{size:,} bytes"),
        ("  over 1-bit theory", f"{size / least:.2f} x of {least:,} bytes"),
        ("  over float32", f"1/{full / size:.1f} of {full:,} bytes"),
        ("packed binary layers", f"{len(figures['packed'])} of {binary}"),
    ]
    if figures["left_float"]:
        rows.append(("  left float", ", ".join(figures["left_float"])))
    if figures["rewritten"]:
        rows.append(("  rewritten for small maps", f"{len(figures['rewritten'])}"))
    return rows[1:] if n == figures["test_images"] else rows


def markdown(figures: dict[str, Any], names: Sequence[str]) -> str:
    """A report for people, who read it beside its pictures.

    # Arguments
        figures: The content of report.json.
        names: One name per class.

    # Returns
        Markdown.
    """
    recipe = figures["recipe"]
    trained = f"Trained in {_time(figures)}. " if figures["training_seconds"] else ""
    return f"""# {recipe["model"]} on {recipe["dataset"]}, seed {recipe["seed"]}

```
{table(figures)}
```

Data: {figures["data_source"]}. {trained}Machine: {figures["machine"]}; strategy
{recipe["strategy"]}, {recipe["precision"]}, TensorFlow {figures["tensorflow"]}.

## Use

```python
import siman_larq  # registers its layers with Keras
import tensorflow as tf

model = tf.keras.models.load_model("model.keras")
```

{_about_file(figures)}

## Training

![Loss and accuracy](curves.png)

The recipe is in `recipe.json`, the figures of every epoch in `history.csv`.

## Answers

The first {tested_on(recipe)}, then others with a wrong answer (in red, with the truth below):

![Answers to {tested_on(recipe)}](samples.png)

{_mistakes(figures, names)}
{_about_codes(figures)}{_about_activations(figures)}"""


_CODES = {
    "ones": ("share_of_ones", ".3f"),
    "entropy of code (bit)": ("entropy", ".3f"),
    "of sign (bit)": ("sign_entropy", ".3f"),
    "β": ("beta", ".2f"),
    "Laplace over Gauss": ("laplace_gap", "+.3f"),
    "excess kurtosis": ("excess_kurtosis", ".2f"),
    "angle to code": ("angle", ".2f"),
    "to median": ("angle_median", ".2f"),
    "to best": ("angle_optimal", ".2f"),
    "w to sign": ("angle_sign", ".2f"),
    "best share of ones": ("best_fraction", ".3f"),
    "correlation": ("sign_correlation", ".2f"),
}
_ACTIVATIONS = {
    "share of +1": ("balance", ".3f"),
    "dead channels": ("dead", ".1%"),
    "within a rounding": ("within_rounding", ".1e"),
    "common to all filters": ("common_share", ".1%"),
}


def _about_codes(figures: dict[str, Any]) -> str:
    if not figures["codes"]:
        return ""
    return f"""
## Codes

![Latent weights and fits](weights.png)

![Angle by share of ones](angles.png)

{_table_of_layers(_CODES, figures["codes"])}

Means over filters, of β the median. The *code* is what the layer computes with; the *sign* is that
of the latent weights. β is the shape of the generalised normal distribution fitted to latent
weights, 1 for Laplace, 2 for Gauss, at most 32; beside it the log-likelihood of Laplace less that
of Gauss, in nats a weight. Angles, in degrees, are between magnitudes |w - mean| and the code in
use, the median code and the best there is, and between w and its sign. The correlation is that of
code and sign, as a magnitude.

![Codes over epochs](codes.png)

Figures of every epoch and layer are in `codes.csv`.
"""


def _about_activations(figures: dict[str, Any]) -> str:
    if not figures["activations"]:
        return ""
    return f"""
## Activations

![Margins](margins.png)

{_table_of_layers(_ACTIVATIONS, figures["activations"])}

Of the inputs of binary layers, on some {tested_on(figures["recipe"])}: the share of +1, of
channels that never change, and of inputs within one rounding of where their sign turns, on which
Keras and a file may disagree. Of their outputs: the share of the variance that is common to all
filters.
"""


def _table_of_layers(columns: dict[str, tuple[str, str]], rows: list[dict[str, Any]]) -> str:
    cells = [
        (row["layer"], *(_number(row[key], form) for key, form in columns.values())) for row in rows
    ]
    return _grid(("layer", *columns), cells)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _about_file(figures: dict[str, Any]) -> str:
    if "no_file" in figures:
        return figures["no_file"]
    return "`model.tflite` is the same network in 1 bit; it says itself how pictures are prepared."


def _mistakes(figures: dict[str, Any], names: Sequence[str]) -> str:
    matrix = figures["confusion"]
    if matrix is not None:
        rows = [
            (name, *map(str, row), f"{row[index] / max(sum(row), 1):.1%}")
            for index, (name, row) in enumerate(zip(names, matrix, strict=True))
        ]
        grid = _grid(("true, predicted →", *names, "right"), rows)
        return f"![Confusion matrix](confusion.png)\n\n{grid}"
    pairs = [
        (pair["true"], pair["predicted"], str(pair["images"])) for pair in figures["most_confused"]
    ]
    grid = _grid(("true", "predicted", "images"), pairs)
    return f"![Most frequent mistakes](confusion.png)\n\n{grid}"


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # A bar or a line break in a name would end its cell.
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _time(figures: dict[str, Any]) -> str:
    each = duration(figures["seconds_per_epoch"])
    timed, epochs = figures["epochs_timed"], figures["recipe"]["epochs"]
    of = "" if timed == epochs else f" for {timed} of {epochs} epochs"
    return f"{duration(figures['training_seconds'])}{of}, {each} an epoch"


def duration(seconds: float) -> str:
    """A span of time for people.

    !!! example
        ```python
        duration(3723)  # "1 h 2 min"
        ```
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
