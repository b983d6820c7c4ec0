"""What one object alone must hold across its fields: each rule once, as CEL for the API server and as Python for here.

``rule`` is the shape of a rule; ``topology``, ``hops``, ``tasks``, ``schedule``, ``data``, ``training``, ``update``,
``operation`` and ``change`` hold the rules by topic; ``registry`` lists all and applies the Python side.
tests/contract runs both sides over one table.

Never here: bounds of a single field (they are in ``api/spec``), and what only this version lacks (``api/support``).
"""
