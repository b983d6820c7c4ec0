"""Rounds: what one round of each schedule does, behind one small interface.

``interface`` is what the conductor knows of a schedule, ``server_side`` what every schedule knows of the server, and
each other module here is one schedule, or the client's half of one. ``build`` chooses by the contract.

Never here: the handshake, Prepare, the evaluation's sums and the end of a training, which are the conductor's.
"""
