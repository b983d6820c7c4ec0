"""The operator's process: what happens in a cluster becomes keys, keys become decisions, decisions become writes.

kopf is the event shell (``shell``) and nothing else: it feeds the store and puts keys on one ``queue``. ``worker``
takes a key, ``observe`` translates what is seen, ``plan`` decides, ``execute`` carries out. Around it: which replica
leads, the intake with ``directory`` and ``authority`` behind it, ``probes``, ``metrics``, ``logs``; ``main`` composes.

Never here: a decision about a training (``plan``), the wording of an API call (``cluster``), anything of a party.
Nothing blocks the loop, every call has a deadline, and only the leader writes.
"""
