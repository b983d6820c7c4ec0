"""The area under the ROC curve as the Mann-Whitney statistic: the chance that a positive row scores above a negative.

Legend: N predictions, K classes or independent labels.
"""

from __future__ import annotations

import torch


def compute_auc(scores_NK: torch.Tensor, truths_NK: torch.Tensor) -> float | None:
    """Computes the AUC of each column, one against the rest, and their plain mean.

    Args:
        scores_NK: Any number that grows with belief in the column's class.
        truths_NK: Whether the row is of the column's class.

    Returns:
        The mean over the columns that have positive and negative rows, or None where no column has both.

    Source: Hand and Till 2001 for the mean over classes; Mann and Whitney 1947.
    """
    found = [_compute_one(scores_NK[:, k], truths_NK[:, k]) for k in range(scores_NK.shape[1])]
    defined = [auc for auc in found if auc is not None]
    return sum(defined) / len(defined) if defined else None


def _compute_one(score_N: torch.Tensor, truth_N: torch.Tensor) -> float | None:
    num_positive = int(truth_N.sum())
    num_negative = truth_N.numel() - num_positive
    if not num_positive or not num_negative:
        return None
    _, group_N, counts = torch.unique(score_N, return_inverse=True, return_counts=True)
    # Equal scores share the mean of the ranks they take up. Ranks count from 1 and are exact up to 2^52.
    last_rank = counts.cumsum(0).double()
    rank = last_rank - (counts.double() - 1) / 2
    rank_sum = float(rank[group_N][truth_N].sum())
    wins = rank_sum - num_positive * (num_positive + 1) / 2
    return wins / (num_positive * num_negative)
