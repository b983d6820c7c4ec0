"""How two parties talk: frames, control messages, channels (loopback and gRPC), TLS rules, the handshake.

Lives here: everything of docs/wire.md, and the only use of grpc. A channel moves frames and knows whether the peer
lives; a link knows the wire plan's transfers, control messages and sealed blobs. A relayed channel lies, sealed, within
the channel to the server.

Never here: what a message means to the training, any decision of a schedule, keys or certificates being made (pki),
autograd. Nothing received is unpickled, and no length is believed before it was checked against a bound.
"""
