"""What README and docs point to is there, and their commands have the options they show."""

import re
import shlex
from pathlib import Path

import click
import pytest

import siman_larq_cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [
        link for link in links if "://" not in link and not (page.parent / link).resolve().exists()
    ]
    assert missing == []


def commands():
    """Each `siman-larq` and train/*.py command of a shell block, as its words."""
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                for word in words:
                    script = re.search(r"train/(cifar|imagenet)\.py$", word)
                    if script or word.endswith("siman-larq"):
                        rest = words[words.index(word) + 1 :]
                        yield page, [f"train-{script[1]}", *rest] if script else rest
                        break


def test_commands_have_these_options():
    seen = set()
    for page, words in commands():
        if words[0].startswith("--"):  # of the group itself
            continue
        name, *arguments = (word for word in words if "$" not in word and word != "&")
        try:
            siman_larq_cli.main.commands[name].make_context(name, arguments)
        except click.UsageError as error:
            raise AssertionError(f"{page}: {' '.join(words)}: {error.message}") from error
        seen.add(name)
    assert seen == set(siman_larq_cli.main.commands)
