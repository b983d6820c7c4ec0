"""Makes the data of a lab and two label parties from scikit-learn's bundled digits.

The lab holds the images, one party knows the digit, the other whether it is odd. All files name the images, and every
party has them in another order, as in life: the training must put the rows together by id. The same files come out
every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

NUM_TEST_ROWS = 360
SHUFFLE_SEED = 2023
BRIGHTEST = 16  # a pixel of the bundled images is a number from 0 to 16


def make_data(folder: Path) -> None:
    """Writes ``<folder>/<claim>/{train,test}.npz`` with `image` and what the party holds of each."""
    table = load_digits()
    images_n1hw = (table.images[:, None] / BRIGHTEST).astype(np.float32)
    held = {"lab": ("pixels", images_n1hw), "reading": ("digit", table.target), "sorting": ("odd", _find_odd(table))}
    generator = np.random.default_rng(SHUFFLE_SEED)
    order = generator.permutation(len(table.target))
    for part, rows in (("test", order[:NUM_TEST_ROWS]), ("train", order[NUM_TEST_ROWS:])):
        for claim, (column, values) in held.items():
            own = generator.permutation(rows)
            path = folder / claim / f"{part}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, image=np.array([f"I{row:04d}" for row in own]), **{column: values[own]})


def _find_odd(table: object) -> np.ndarray:
    return (table.target % 2).astype(np.float32)[:, None]  # type: ignore[attr-defined]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "data")
    make_data(parser.parse_args().folder)
