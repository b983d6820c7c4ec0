"""A SplitTraining on one machine, without a cluster: the same plan, documents, identities and parties.

Here: the manifest file with its source documents, volumes as folders, the run folder, the intake on loopback, the one
launcher that starts parties as processes by name, and the decision how a run ended. It emits events and draws nothing.
Never here: torch, grpc or an import of `party` (a test watches the launcher), kopf, Kubernetes, or a terminal. A run
leaves no process behind, however it ends: every party watches for the end of the command and follows it.
"""
