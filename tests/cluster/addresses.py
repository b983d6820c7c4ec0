"""Addresses of clusters side by side: all from the range for tests of networks, which is routed nowhere.

Source: RFC 2544 reserves 198.18.0.0/15. Cluster number I has 198.18.(16 I).0/20, so sixteen of them fit.
"""

from __future__ import annotations

from dataclasses import dataclass

NUM_CLUSTERS = 16


@dataclass(frozen=True)
class Addresses:
    """One cluster's addresses."""

    number: int

    @property
    def node(self) -> str:
        """The node's own."""
        return self._at(0, "1")

    @property
    def pods(self) -> str:
        """The range of its pods."""
        return self._at(1, "0/24")

    @property
    def services(self) -> str:
        """The range of its Services."""
        return self._at(2, "0/24")

    @property
    def api(self) -> str:
        """The Service of its API server: the first of the range, which is how Kubernetes has it."""
        return self._at(2, "1")

    @property
    def dns(self) -> str:
        """The Service of its DNS."""
        return self._at(2, "10")

    def _at(self, third: int, rest: str) -> str:
        return f"198.18.{16 * self.number + third}.{rest}"


def choose_number(taken: set[int]) -> int | None:
    """Chooses the lowest number that no other cluster has; None where all are taken."""
    return next((number for number in range(NUM_CLUSTERS) if number not in taken), None)
