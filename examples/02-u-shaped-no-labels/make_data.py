"""Makes the data of two clinics from scikit-learn's bundled breast cancer cytology: 30 features, benign or malignant.

Features are standardized with fixed, published numbers and not with a clinic's own statistics, so that both clinics
feed the model the same units without telling each other anything. The same files come out every time.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

NUM_TEST_ROWS = 143
SHUFFLE_SEED = 2021
SHARES = {"biopsies-north": 3, "biopsies-south": 2}  # claim -> parts of the whole
MALIGNANT = 0  # scikit-learn's class number
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
    """Writes ``<folder>/<claim>/{train,test}.csv`` with one column per feature and `malignant` (0 or 1)."""
    table = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in table.feature_names]
    centers_f, scales_f = np.array(STANDARD).T
    features_nf = (table.data - centers_f) / scales_f
    malignant_n = (table.target == MALIGNANT).astype(int)
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(malignant_n))
    for part, rows in (("test", order[:NUM_TEST_ROWS]), ("train", order[NUM_TEST_ROWS:])):
        start, parts = 0, sum(SHARES.values())
        for claim, share in SHARES.items():
            stop = start + len(rows) * share // parts
            _write_csv(folder / claim / f"{part}.csv", names, features_nf, malignant_n, rows[start:stop])
            start = stop


def _write_csv(
    path: Path, names: list[str], features_nf: np.ndarray, malignant_n: np.ndarray, rows: np.ndarray
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "malignant"])
        for row in rows:
            writer.writerow([*(f"{value:.6f}" for value in features_nf[row]), malignant_n[row]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "data")
    make_data(parser.parse_args().folder)
