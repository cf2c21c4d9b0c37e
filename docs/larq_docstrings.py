"""Griffe's reader of Larq's docstrings: `# Arguments` and its like become Google's sections."""

import re
import textwrap
from typing import Any

import griffe

_SECTIONS = {
    "Arguments": "Args",
    "Returns": "Returns",
    "Raises": "Raises",
    "Attributes": "Attributes",
}
_HEADING = re.compile(r"^# (\w[\w ]*)\n((?:(?!# ).*(?:\n|$))*)", re.MULTILINE)


class LarqDocstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_google(obj.docstring.value)


def as_google(text: str) -> str:
    """A docstring of Larq's style in Google's, with TeX as Python's Markdown takes it."""
    # Larq escapes TeX once more for its own Markdown, and lets formulas follow a line directly.
    text = re.sub(r"\\\\([()\[\]{}]|\\$)", r"\\\1", text, flags=re.MULTILINE)
    text = re.sub(r"^( *\\\[)$", r"\n\1", text, flags=re.MULTILINE)
    text = re.sub(r"^( *\\\])$", r"\1\n", text, flags=re.MULTILINE)
    return _HEADING.sub(_section, text)


def _section(match: re.Match) -> str:
    title, body = match[1], textwrap.dedent(match[2]).strip("\n")
    if title in _SECTIONS:
        return f"{_SECTIONS[title]}:\n{textwrap.indent(body, '    ')}\n\n"
    return f"**{title}**\n\n{body}\n\n"
