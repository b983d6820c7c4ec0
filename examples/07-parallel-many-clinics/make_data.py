"""Makes the data of three clinics from scikit-learn's bundled digits: 8x8 gray images in ten classes.

The digits stand in for an imaging study. The clinics' shares are 4 : 2 : 1. The same files come out every time:
the shuffle is keyed, nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

NUM_TEST_ROWS = 360
SHUFFLE_SEED = 2021
BRIGHTEST_PIXEL = 16.0  # scikit-learn stores these pixels as 0..16
SHARES = {"images-harbor": 4, "images-hillside": 2, "images-station": 1}  # claim -> parts of the whole


def make_data(folder: Path) -> None:
    """Writes ``<folder>/<claim>/{train,test}.npz`` with arrays `image` (N, 1, 8, 8) and `finding` (N,)."""
    digits = load_digits()
    images_n1hw = (digits.images / BRIGHTEST_PIXEL).astype(np.float32)[:, None]
    findings_n = digits.target.astype(np.int64)
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(findings_n))
    for part, rows in (("test", order[:NUM_TEST_ROWS]), ("train", order[NUM_TEST_ROWS:])):
        start, parts = 0, sum(SHARES.values())
        for claim, share in SHARES.items():
            stop = start + len(rows) * share // parts
            own = rows[start:stop]
            (folder / claim).mkdir(parents=True, exist_ok=True)
            np.savez(folder / claim / f"{part}.npz", image=images_n1hw[own], finding=findings_n[own])
            start = stop


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "data")
    make_data(parser.parse_args().folder)
