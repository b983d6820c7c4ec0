"""Writes docs/bytes.md from what trainings of every schedule count: `make docs-bytes`, which takes three minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from support.bytes_page import PAGE, measure_all, render_page

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        page = render_page(measure_all(Path(folder)))
    PAGE.write_text(page, encoding="utf-8")
