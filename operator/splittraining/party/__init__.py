"""What runs beside the data: one party of a split training, from its document to its trained segments.

``model`` cuts the network, ``data`` reads rows, ``wire`` talks to peers, ``privacy`` will hold defenses; ``training``
stands on all four and drives steps, turns and hand-offs; ``main`` composes a party, ``endings`` names how it ended and
``entry`` is the command, which hears SIGTERM from its first instruction on; ``preload`` is what a fork server imports
for all parties of a run, and ``lasting`` makes such imports quick, and ended by the command's end.

Only this room uses torch, grpc and safetensors. It meets the operator in two documents, ``api.party_document`` (what it
is told) and ``api.report`` (what it tells), and never imports ``plan``, ``local``, ``intake``, ``cluster`` or kopf.
"""
