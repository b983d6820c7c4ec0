"""Pure decisions: which party runs what, what each one is told, whether a training can be taken on.

In go resources and facts, out come documents and decisions; the same in a cluster and on one machine. ``topology`` says
who holds what, ``contracts`` what all agree on, ``party_plans`` what one institution alone agrees to,
``party_documents`` what each party is told, ``acceptance`` whether a manifest can be run at all. For a cluster,
``reconcile`` turns one look (``observed``) at a training into one ``decision``, with a module per policy, and
``manifests`` builds the objects.

Never here: I/O, a clock, randomness, the environment; anything but ``api``.
"""
