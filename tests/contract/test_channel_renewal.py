"""A stream whose parties renew their leaves lasts, over real TLS; whoever does not renew rightly loses it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from splittraining.api.errors import IdentityRefused, PeerFailed, ProtocolViolation
from splittraining.party.wire.channel import ChannelSettings
from splittraining.party.wire.frame import FrameType, Header, parse_header, render_frame
from splittraining.party.wire.goodbye import build_finished, build_goodbye
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.progress import Progress
from splittraining.party.wire.renewal import StreamIdentity, follow_credentials
from splittraining.party.wire.stream import StreamChannel
from splittraining.pki.live import LiveCredentials
from support.pki_support import Site, a_site, an_identity, current_time
from support.wire_support import CLIENT, a_control_frame, a_server

SHORT = timedelta(seconds=4)
GARBAGE = render_frame(Header(FrameType.RENEWAL, size_bytes=2), b"{}")


def admit_shortly(site: Site, party: str) -> LiveCredentials:
    return LiveCredentials(site.admit(party, now=current_time(), duration=SHORT))


def wait_for_the_end_of(*leaves: LiveCredentials) -> None:
    """Lets leaves end, which only time can do."""
    left = max(each.current.not_after for each in leaves) - current_time()
    threading.Event().wait(left.total_seconds() + 0.3)


def test_a_stream_outlives_the_leaves_that_it_was_opened_with_and_new_ones_are_opened_with_the_new() -> None:
    site = a_site()
    server_leaf, client_leaf = admit_shortly(site, "server"), admit_shortly(site, CLIENT)
    old = LiveCredentials(server_leaf.current), LiveCredentials(client_leaf.current)
    with a_server(site, CLIENT, "north", credentials=server_leaf) as listening:
        client = listening.dial(client_leaf)
        server = listening.server.accept(10)
        server_leaf.renew(site.admit("server"))
        client_leaf.renew(site.admit(CLIENT))
        wait_for_the_end_of(*old)
        for sender, receiver in ((client, server), (server, client)):
            sender.send(a_control_frame())
            assert receiver.recv(10) == a_control_frame()
        north = listening.dial(site.admit("north"))
        assert listening.server.accept(10).peer == "north"
        north.close(build_finished("north"))
        client.close(build_finished(CLIENT))


def test_the_peer_of_a_party_that_renewed_may_still_lose_its_own_stream() -> None:
    site = a_site()
    server_leaf = LiveCredentials(site.admit("server"))
    with a_server(site, CLIENT, credentials=server_leaf) as listening:
        client = listening.dial(admit_shortly(site, CLIENT))
        server_leaf.renew(site.admit("server"))
        with pytest.raises(IdentityRefused, match=f"the certificate of {CLIENT} expired at"):
            listening.server.accept(10).recv(30)
        client.abort()


def test_a_leaf_that_came_while_the_stream_was_opened_is_vouched_with_first_of_all() -> None:
    site = a_site()
    credentials = LiveCredentials(site.admit(CLIENT))
    shown = credentials.current
    credentials.renew(site.admit(CLIENT))
    identity = StreamIdentity(credentials, an_identity("server"), bytes(64), current_time)
    channel = StreamChannel("server", progress=Progress(), settings=ChannelSettings(), cancel=lambda: None)
    follow_credentials(channel, identity, shown)
    assert parse_header(next(channel.iterate_outgoing())).type is FrameType.RENEWAL
    channel.abort()


def test_another_partys_leaf_renews_nothing() -> None:
    site = a_site()
    credentials = LiveCredentials(site.admit(CLIENT))
    with a_server(site, CLIENT) as listening:
        client = listening.dial(credentials)
        server = listening.server.accept(10)
        credentials.renew(site.admit("north"))
        with pytest.raises(IdentityRefused, match=f"presented as party '{CLIENT}'"):
            server.recv(10)
        client.abort()


def test_a_vouching_for_one_stream_is_worth_nothing_on_the_next() -> None:
    site = a_site()
    first = StreamIdentity(LiveCredentials(site.admit(CLIENT)), an_identity("server"), bytes(64), current_time)
    with a_server(site, CLIENT) as listening:
        client = listening.dial(site.admit(CLIENT))
        client.renew(first.render_renewal())
        with pytest.raises(IdentityRefused, match="did not sign for this stream"):
            listening.server.accept(10).recv(10)
        client.abort()


def test_a_vouching_that_cannot_be_read_is_refused() -> None:
    with a_server(a_site(), CLIENT) as listening:
        client = listening.dial(listening.site.admit(CLIENT))
        client.renew(GARBAGE)
        with pytest.raises(ProtocolViolation, match=f"{CLIENT} sent a RENEWAL frame that cannot be read"):
            listening.server.accept(10).recv(10)
        client.abort()


def test_a_stream_without_certificates_takes_no_vouching() -> None:
    one, other = build_loopback_pair("north", "south")
    one.renew(GARBAGE)
    with pytest.raises(ProtocolViolation, match="without certificates"):
        other.recv(10)
    one.abort()


def test_a_client_that_is_not_renewed_ends_by_itself_and_tells_why() -> None:
    site = a_site()
    credentials = LiveCredentials(site.admit(CLIENT))
    refused = IdentityRefused("the certificate of st-mary is not renewed")
    with a_server(site, CLIENT) as listening:
        client = listening.dial(credentials)
        server = listening.server.accept(10)
        credentials.end(refused)
        with pytest.raises(IdentityRefused, match="is not renewed"):
            client.recv(10)
        client.close(build_goodbye(refused, CLIENT))
        with pytest.raises(PeerFailed, match=f"{CLIENT} ended with IdentityRefused: .*is not renewed"):
            server.recv(10)


def test_a_server_that_is_not_renewed_stops_waiting_for_clients() -> None:
    credentials = LiveCredentials(a_site().admit("server"))
    with a_server(a_site(), CLIENT, credentials=credentials) as listening:
        credentials.end(IdentityRefused("the certificate of server is not renewed"))
        with pytest.raises(IdentityRefused, match="is not renewed"):
            listening.server.accept(10)


def test_a_server_that_is_not_renewed_before_it_listens_waits_for_nobody() -> None:
    credentials = LiveCredentials(a_site().admit("server"))
    credentials.end(IdentityRefused("the certificate of server is not renewed"))
    with (
        a_server(a_site(), CLIENT, credentials=credentials) as listening,
        pytest.raises(IdentityRefused, match="is not renewed"),
    ):
        listening.server.accept(10)


def test_a_client_that_is_not_renewed_stops_dialing() -> None:
    site = a_site()
    credentials = LiveCredentials(site.admit(CLIENT))
    credentials.end(IdentityRefused("the certificate of st-mary is not renewed"))
    with a_server(site, CLIENT) as listening, pytest.raises(IdentityRefused, match="is not renewed"):
        listening.dial(credentials)
