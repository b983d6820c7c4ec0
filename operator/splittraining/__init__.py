"""SplitTraining: split learning between institutions, declared as one resource and run on Kubernetes or one machine.

Rooms, from the ground up: ``api`` (documents), ``plan`` (pure decisions), ``pki`` (keys and certificates), ``intake``
(the door parties talk to), ``party`` (what runs beside the data), ``report``, ``local`` (a run without a cluster) and
``cli``. ARCHITECTURE.md says what each may import; ``make imports`` holds it.
"""

__version__ = "0.1.0"
