"""Writes the generated pages when Sphinx begins to build, before it looks for pages."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# What the generated pages depend on.
SOURCES = ("flowlab/**/*.py", "conf/**/*.yaml", "notebooks/*.ipynb", "experiments/*.py", "docs/extensions/*.py")
FILES = ("Makefile", "pyproject.toml", "CONTRIBUTING.md", "SECURITY.md")
GENERATED = ("tutorials/lessons", "reference/settings", "reference/api", "reference/generated", "_parts")


def generate(app: Any) -> None:
    """Write every generated page whose text has changed; without a change of their sources, do nothing."""
    source = Path(app.srcdir)
    stamp, now = Path(app.doctreedir) / "generated.stamp", _fingerprint(app.config.files_address)
    complete = all((source / folder).is_dir() for folder in GENERATED)
    if complete and stamp.is_file() and stamp.read_text() == now:
        return
    _write(source, app.config.files_address)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(now)


def _fingerprint(address: str) -> str:
    """A hash of everything that the generated pages depend on."""
    paths = [*(path for pattern in SOURCES for path in sorted(ROOT.glob(pattern))), *(ROOT / name for name in FILES)]
    digest = hashlib.sha256(address.encode())
    for path in paths:
        digest.update(str(path.relative_to(ROOT)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _write(source: Path, address: str) -> None:
    from api_pages import api_pages
    from command_pages import commands_page, mistakes_list, statuses_table, sweeps_page
    from lessons import course_map, lesson_pages
    from pages import repository_page, write_pages
    from settings_pages import settings_pages

    pages = {"commands.md": commands_page(), "sweeps.md": sweeps_page()}
    # Pages include these.
    public = address if os.environ.get("FLOWLAB_REPOSITORY") else ""  # else the address is a guess
    parts = {"course.md": course_map(public), "statuses.md": statuses_table(), "mistakes.md": mistakes_list()}
    parts |= {name: repository_page(ROOT / name, address) for name in ("CONTRIBUTING.md", "SECURITY.md")}
    contents = (lesson_pages(address), settings_pages(), api_pages(), pages, parts)
    for folder, content in zip(GENERATED, contents, strict=True):
        write_pages(source / folder, content)


def setup(app: Any) -> dict[str, bool]:
    """Generate pages at the start of a build."""
    app.add_config_value("files_address", "", "env")
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
