"""What is done to a value before it leaves its owner, and how much it still tells.

Will live here: defenses on crossing values and gradients (noise with its accountant, distance correlation, codecs that
count as protection), the attack scores that measure them, and the floor that an institution sets.

Never here: identities, TLS and sealing (they are `pki` and `party/wire`), which protect against outsiders and
not against the other parties of the training.
"""
