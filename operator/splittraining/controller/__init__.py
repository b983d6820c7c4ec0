"""The operator's process: what happens in a cluster becomes keys, keys become decisions, decisions become writes.

kopf is the event shell (``shell``) and nothing else: it feeds the ``state``, which wakes keys on one ``work_queue``. A
``worker`` takes a key, ``gather`` and ``observe`` say what is seen, ``plan`` decides, ``execute`` carries out through
``kube``. Around it: the intake with ``directory`` and ``authority`` behind it, ``health``, ``probes``, ``metrics``,
``logs``. ``parts`` composes, ``process`` runs.

Never here: a decision about a training (``plan``), the wording of an API call (``cluster``), anything of a party.
Nothing blocks the loop, every call has a deadline, and only the leader writes.
"""
