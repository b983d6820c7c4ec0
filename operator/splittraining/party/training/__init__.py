"""Steps, turns and hand-offs: how one party trains its segments, and how the server conducts the others.

``stage`` is the arithmetic of one stage, ``engine`` the order of one step, ``schedule`` who trains when. ``conductor``
(server) and ``follower`` (client) speak the orders of ``party.wire.orders``; ``sealed_mail`` carries what the server
must not read, ``relays`` makes the links between clients that the server carries. ``agreement`` holds a party to what
was approved and ``consent`` to what the contract names; ``assembly`` puts it together, ``session`` connects it.

Never here: frames and TLS (``wire``), tracing and ownership (``model``), file formats (``data``).
"""
