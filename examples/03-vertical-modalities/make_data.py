"""Makes the data of three institutions and a registry from scikit-learn's bundled breast cancer cytology.

Each institution holds ten of the thirty features of every patient, the registry holds the outcome. All files name the
patients, and every party has them in another order, as in life: the training must put the rows together by id. Features
are standardized with fixed, published numbers. The same files come out every time.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

NUM_TEST_ROWS = 143
SHUFFLE_SEED = 2021
MALIGNANT = 0  # scikit-learn's class number
CLAIMS = {"cytology": slice(0, 10), "imaging": slice(10, 20), "pathology": slice(20, 30)}  # claim -> its features
# (center, scale) of each feature, in the order of the bundled table: rounded figures of the published data set.
STANDARD = (
    (14.1, 3.52), (19.3, 4.3), (92.0, 24.3), (655.0, 352.0), (0.0964, 0.0141),
    (0.104, 0.0528), (0.0888, 0.0796), (0.0489, 0.0388), (0.181, 0.0274), (0.0628, 0.00705),
    (0.405, 0.277), (1.22, 0.551), (2.87, 2.02), (40.3, 45.5), (0.00704, 0.003),
    (0.0255, 0.0179), (0.0319, 0.0302), (0.0118, 0.00616), (0.0205, 0.00826), (0.00379, 0.00264),
    (16.3, 4.83), (25.7, 6.14), (107.0, 33.6), (881.0, 569.0), (0.132, 0.0228),
    (0.254, 0.157), (0.272, 0.208), (0.115, 0.0657), (0.29, 0.0618), (0.0839, 0.018),
)  # fmt: skip


def make_data(folder: Path) -> None:
    """Writes ``<folder>/<claim>/{train,test}.csv`` with `patient` and ten features, or `malignant` at the registry."""
    table = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in table.feature_names]
    centers_f, scales_f = np.array(STANDARD).T
    features_nf = (table.data - centers_f) / scales_f
    malignant_n = (table.target == MALIGNANT).astype(int)
    generator = np.random.default_rng(SHUFFLE_SEED)
    order = generator.permutation(len(malignant_n))
    for part, rows in (("test", order[:NUM_TEST_ROWS]), ("train", order[NUM_TEST_ROWS:])):
        for claim, columns in CLAIMS.items():
            own = generator.permutation(rows)
            cells = [[f"{value:.6f}" for value in features_nf[row, columns]] for row in own]
            _write_csv(folder / claim / f"{part}.csv", names[columns], own, cells)
        own = generator.permutation(rows)
        _write_csv(folder / "registry" / f"{part}.csv", ["malignant"], own, [[str(malignant_n[row])] for row in own])


def _write_csv(path: Path, names: Sequence[str], rows: np.ndarray, cells: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *names])
        for row, own in zip(rows, cells, strict=True):
            writer.writerow([f"P{row:04d}", *own])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "data")
    make_data(parser.parse_args().folder)
