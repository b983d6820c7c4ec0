"""What the dialing and the listening end of a gRPC stream must have in common."""

from __future__ import annotations

import ipaddress

from splittraining.party.wire.frame import FRAME_LIMIT_BYTES

SERVICE = "splittraining.Wire"
METHOD = "Stream"
LEAF_METADATA = "splittraining-leaf-bin"
NONCE_METADATA = "splittraining-nonce-bin"

# gRPC ends a stream with a longer message than this, and the listening end then sees no more than a loss; a frame that
# is only a little too long gets through to the reader, which names it.
_MESSAGE_LIMIT_BYTES = FRAME_LIMIT_BYTES + 4096

COMMON_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", FRAME_LIMIT_BYTES),
    # Dropped packets are noticed after about 6 s; without these, nothing notices them within 16 s.
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


def render_address(host: str, port: int) -> str:
    """Renders an address as gRPC reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tells whether a host is this machine, where a proxy of the environment has no business."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
