"""The only talker to the Kubernetes API: raw calls, what they answer, and what of it is remembered.

``client`` calls, ``streams`` carries logs and commands, ``errors`` names what goes wrong, ``resources`` says where
kinds stand in the API. ``writes`` applies and deletes without ever touching what is somebody else's; ``events`` tells
people. ``store`` remembers what was observed, ``lease`` elects one of several processes.

Never here: a decision about a training, kopf, the typed APIs of the kubernetes package (110 MB and a second and a half
of a blocked loop at their first use).
"""
