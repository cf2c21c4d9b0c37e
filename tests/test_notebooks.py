"""Notebooks are committed as they ran: with outputs, without errors, and with nothing of a machine.

`make notebooks` runs them.
"""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LARGEST = 400_000
# Of home folders, temporary files and installed packages, also on Windows.
PLACE = re.compile(r"(?<![\w.:/~])/(?:\w[\w.-]*/)+[\w.-]+|\b[A-Z]:\\+\w|site-packages|\.py:\d+")


def cells(path, kind):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def texts(output):
    """What an output shows as text; pictures have a place within, if at all, as base64."""
    data = output.get("data", {})
    shown = [text for kind, text in data.items() if kind.startswith("text/")]
    return "\n".join("".join(part) for part in [*shown, output.get("text", "")])


def test_there_are_four():
    assert [path.name[:2] for path in NOTEBOOKS] == ["1_", "2_", "3_", "4_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
class TestNotebook:
    def test_it_is_committed_as_it_ran(self, path):
        ran = cells(path, "code")
        counts = [cell["execution_count"] for cell in ran]
        assert counts == list(range(1, len(ran) + 1))
        outputs = [output for cell in ran for output in cell["outputs"]]
        assert not [output for output in outputs if output["output_type"] == "error"]
        assert [output for output in outputs if "image/png" in output.get("data", {})]
        assert path.stat().st_size < LARGEST

    def test_it_tells_nothing_of_a_machine(self, path):
        outputs = [output for cell in cells(path, "code") for output in cell["outputs"]]
        places = [place for output in outputs for place in PLACE.findall(texts(output))]
        assert places == []
        assert "skipped" not in " ".join(map(texts, outputs))
        assert not [cell["metadata"] for cell in cells(path, "code") if cell["metadata"]]

    def test_it_says_what_it_needs(self, path):
        first = cells(path, "code")[0]
        assert "".join(first["source"]).startswith("# requirements: siman-larq[tf")

    def test_links_lead_to_files(self, path):
        text = "\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
        assert links
        assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("text", "is_a_place"),
    [
        ("/home/ann/siman/x.npz", True),
        ("saved to /tmp/tmp3f/model.tflite", True),
        ("C:\\Users\\ann", True),
        ("warnings.py:12: UserWarning", True),
        ("14 x 14 x 64, 1/17.5 of 3/4, ms/step", False),
        ("https://arxiv.org/abs/2102.07981", False),
    ],
)
def test_places_are_found(text, is_a_place):
    assert bool(PLACE.search(text)) == is_a_place
