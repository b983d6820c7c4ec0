"""A module whose import does not end before its process does: a fork server that is not through with its own."""

import os
import threading
from pathlib import Path

from splittraining.party.lasting import ending_with_the_parent

with ending_with_the_parent():
    pid_file = Path(os.environ["IMPORTER_PID_FILE"])
    unfinished = pid_file.with_suffix(".part")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(pid_file)
    threading.Event().wait()
