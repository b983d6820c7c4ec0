"""Keys, certificates, and what parties seal for each other: the only room that uses ``cryptography``.

Lives here: keys made in memory, certificate requests, a site's CA and the evaluator that refuses every request it did
not ask for, leaves and the rules that accept one, trust bundles (one set of roots per trust domain, never pooled), TLS
contexts, and what two parties seal for each other: signed blobs, and frames that a third one relays.

Never lives here: sockets, requests, files with keys, a clock (`now` is always handed in), or who may have which leaf:
that is the intake's directory.
"""
