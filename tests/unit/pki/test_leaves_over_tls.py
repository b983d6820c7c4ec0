"""The leaves in the two TLS stacks that use them: gRPC's, and Python's with a key that never touches a disk."""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent import futures

import grpc
import pytest

from splittraining.pki.keys import generate_key, render_key_pem
from splittraining.pki.tls import build_client_context, build_server_context
from support.pki_support import a_site

SITE = a_site()
SERVER = SITE.admit("server")
CLIENT = SITE.admit("st-mary")


def test_grpc_accepts_leaves_at_both_ends_and_checks_the_servers_dns_name():
    seen = {}

    def answer(request, context):
        seen.update(context.auth_context())
        return request

    roots = SITE.bundle.render_pem()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", {"m": handler}),))
    credentials = grpc.ssl_server_credentials([(SERVER.key_pem, SERVER.leaf_pem)], roots, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        assert call(port, roots, SERVER.identity.dns_name) == b"x"
        assert seen["peer_spiffe_id"] == [CLIENT.identity.spiffe_id.encode()]
        with pytest.raises(grpc.RpcError):
            call(port, roots, "server.run-0.splittraining")
    finally:
        server.stop(None).wait()


def call(port, roots, name):
    credentials = grpc.ssl_channel_credentials(roots, CLIENT.key_pem, CLIENT.leaf_pem)
    options = [("grpc.ssl_target_name_override", name)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        return channel.unary_unary("/s/m")(b"x", timeout=5)


def a_door():
    key = generate_key()
    leaf_pem = SITE.ca.issue_server_leaf(key.public_key(), ["localhost"], now=SITE.now)
    return build_server_context(leaf_pem, render_key_pem(key), client_roots_pem=SITE.bundle.render_pem())


def shake_hands(client):
    """Does one handshake and one byte each way over a socket pair; returns what both ends know afterwards."""
    ours, theirs = socket.socketpair()
    seen = {}

    def serve():
        with theirs, door.wrap_socket(theirs, server_side=True) as tls:
            seen.update(version=tls.version(), peer=tls.getpeercert(binary_form=True), reused=tls.session_reused)
            tls.sendall(tls.recv(1))

    door = a_door()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname="localhost") as tls:
            tls.sendall(b"x")
            assert tls.recv(1) == b"x"
            seen["session"] = tls.session
    finally:
        thread.join()
    return seen


def test_python_does_tls_1_3_with_a_leaf_from_memory():
    client = build_client_context(SITE.ca.certificate_pem, leaf_pem=CLIENT.leaf_pem, key_pem=CLIENT.key_pem)
    seen = shake_hands(client)
    assert seen["version"] == "TLSv1.3"
    assert ssl.DER_cert_to_PEM_cert(seen["peer"]).split() == CLIENT.leaf_pem.decode().split()


def test_a_door_gives_no_session_that_could_be_resumed():
    client = build_client_context(SITE.ca.certificate_pem)
    first = shake_hands(client)
    assert first["session"] is None or not first["session"].has_ticket
    assert first["reused"] is False
