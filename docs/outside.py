"""MkDocs's hook for links to files of the repository outside docs: the site has them in files/.

A report among them comes as a page, with all that lies beside it.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LINK = re.compile(r"(?<=\]\()(?:\.\./)+[^)#\s]+")
_ROOT = Path(__file__).resolve().parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs with what it found in docs."""
    for page in list(files.documentation_pages()):
        for link in _LINK.findall(page.content_string):
            path = _outside(page, link)
            is_report = path is not None and path.suffix == ".md"
            for found in sorted(path.parent.iterdir()) if path and is_report else [path]:
                if found and found.is_file() and _address(found) not in files.src_uris:
                    files.append(File.generated(config, _address(found), abs_src_path=str(found)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Called by MkDocs with each page."""

    def changed(match: re.Match) -> str:
        path = _outside(page.file, match[0])
        up = "../" * page.file.src_uri.count("/")
        return f"{up}{_address(path)}" if path else match[0]

    return _LINK.sub(changed, markdown)


def _outside(page: File, link: str) -> Path | None:
    """The file outside docs that a link leads to, if it does."""
    source = Path(page.abs_src_path or "")
    path = (source.parent / link).resolve()
    is_outside = path.is_relative_to(_ROOT) and not path.is_relative_to(_ROOT / "docs")
    return path if is_outside and path.is_file() else None


def _address(path: Path) -> str:
    return f"files/{path.relative_to(_ROOT).as_posix()}"
