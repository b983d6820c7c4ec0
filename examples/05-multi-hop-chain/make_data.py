"""Makes a clinic's images and a registry's findings from scikit-learn's bundled digits: 8x8 gray images in ten classes.

The digits stand in for an imaging study. Both files name the patients, and each has them in another order: the training
must put the rows together by id. The same files come out every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

NUM_TEST_ROWS = 360
SHUFFLE_SEED = 2021
BRIGHTEST_PIXEL = 16.0  # scikit-learn stores these pixels as 0..16


def make_data(folder: Path) -> None:
    """Writes ``<folder>/<claim>/{train,test}.npz`` with `patient` and `image` (N, 1, 8, 8), or `finding` (N,)."""
    digits = load_digits()
    images_n1hw = (digits.images / BRIGHTEST_PIXEL).astype(np.float32)[:, None]
    findings_n = digits.target.astype(np.int64)
    patients_n = np.array([f"P{number:04d}" for number in range(len(findings_n))])
    generator = np.random.default_rng(SHUFFLE_SEED)
    order = generator.permutation(len(findings_n))
    for part, rows in (("test", order[:NUM_TEST_ROWS]), ("train", order[NUM_TEST_ROWS:])):
        for claim, name, values in (
            ("chain-images", "image", images_n1hw),
            ("chain-findings", "finding", findings_n),
        ):
            own = generator.permutation(rows)
            (folder / claim).mkdir(parents=True, exist_ok=True)
            np.savez(folder / claim / f"{part}.npz", patient=patients_n[own], **{name: values[own]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "data")
    make_data(parser.parse_args().folder)
