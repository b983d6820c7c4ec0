"""Makes the data of two institutions and a tumor board from scikit-learn's bundled breast cancer cytology.

Each institution holds ten features of every patient, the board holds the outcomes. All files name the patients, and
every party has them in another order. Features are standardized with fixed, published numbers. The same files come out
every time.
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
CLAIMS = {"board-cytology": "mean_", "board-pathology": "worst_"}  # claim -> how its features' names begin
# (center, scale) of each feature: rounded figures of the published data set.
STANDARD = {
    "mean_radius": (14.1, 3.52), "mean_texture": (19.3, 4.3), "mean_perimeter": (92.0, 24.3),
    "mean_area": (655.0, 352.0), "mean_smoothness": (0.0964, 0.0141), "mean_compactness": (0.104, 0.0528),
    "mean_concavity": (0.0888, 0.0796), "mean_concave_points": (0.0489, 0.0388), "mean_symmetry": (0.181, 0.0274),
    "mean_fractal_dimension": (0.0628, 0.00705), "worst_radius": (16.3, 4.83), "worst_texture": (25.7, 6.14),
    "worst_perimeter": (107.0, 33.6), "worst_area": (881.0, 569.0), "worst_smoothness": (0.132, 0.0228),
    "worst_compactness": (0.254, 0.157), "worst_concavity": (0.272, 0.208), "worst_concave_points": (0.115, 0.0657),
    "worst_symmetry": (0.29, 0.0618), "worst_fractal_dimension": (0.0839, 0.018),
}  # fmt: skip


def make_data(folder: Path) -> None:
    """Writes ``<folder>/<claim>/{train,test}.csv`` with `patient` and ten features, or `malignant` at the board."""
    table = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in table.feature_names]
    malignant_n = (table.target == MALIGNANT).astype(int)
    generator = np.random.default_rng(SHUFFLE_SEED)
    order = generator.permutation(len(malignant_n))
    for part, rows in (("test", order[:NUM_TEST_ROWS]), ("train", order[NUM_TEST_ROWS:])):
        for claim, prefix in CLAIMS.items():
            own = generator.permutation(rows)
            columns = [name for name in names if name.startswith(prefix)]
            cells = [[_standardize(name, table.data[row, names.index(name)]) for name in columns] for row in own]
            _write_csv(folder / claim / f"{part}.csv", columns, own, cells)
        own = generator.permutation(rows)
        outcomes = [[str(malignant_n[row])] for row in own]
        _write_csv(folder / "board-outcomes" / f"{part}.csv", ["malignant"], own, outcomes)


def _standardize(name: str, value: float) -> str:
    center, scale = STANDARD[name]
    return f"{(value - center) / scale:.6f}"


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
