"""What cannot be done, told in one sentence."""

from __future__ import annotations


class ClusterRefused(Exception):
    """The test cluster cannot do what was asked; the message says what was found, what is needed and what to do."""
