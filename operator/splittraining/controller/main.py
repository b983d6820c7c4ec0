"""The operator's process: reads its settings, and ends with a code that says why.

0: it was asked to stop; 1: a part of it ended by itself; 2: its settings cannot be used; 3: another replica leads now.
"""

from __future__ import annotations

import asyncio
import os
import sys

from prometheus_client import disable_created_metrics

from splittraining.controller.logs import start_logging
from splittraining.controller.process import run_operator
from splittraining.controller.settings import parse_settings


def main() -> None:
    """Runs the operator until it is asked to stop."""
    settings = parse_settings(sys.argv[1:], os.environ)
    start_logging(settings.log_level)
    disable_created_metrics()  # a second series for each counter, which nobody reads
    sys.exit(asyncio.run(run_operator(settings)))
