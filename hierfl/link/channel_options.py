"""gRPC settings that both ends of a link share."""

from __future__ import annotations

from hierfl.process.descriptors import most_connections

HEARTBEAT_S = 10.0
"""A peer that has vanished without closing its connection is given up within so many seconds."""

LONGEST_FRAME = 1 << 30
"""Bytes in a frame where no model says how many there may be."""

STREAMS = 4
"""Streams of a connection; a child has one."""

_Options = list[tuple[str, int]]


def _common(max_frame: int, heartbeat: float) -> _Options:
    half = int(heartbeat * 500)  # ms of silence before a sign of life is asked for, then waited for
    return [
        ("grpc.max_receive_message_length", max_frame),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", half),
        ("grpc.keepalive_timeout_ms", half),
        ("grpc.http2.ping_timeout_ms", half),  # without it gRPC waits a minute, whatever is above
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def client_options(max_frame: int, heartbeat: float) -> _Options:
    """Return the options of a child's channel.

    gRPC's own redialling is left out of it: the child decides when to dial again. Links are
    direct: proxies that the environment names are for other traffic.
    """
    return [
        *_common(max_frame, heartbeat),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]


def server_options(max_frame: int, heartbeat: float, children: int) -> _Options:
    """Return the options of a parent's server: two servers never share a port.

    Before anybody is admitted, connections and streams cost descriptors and memory: both are
    bounded. A child has one stream on a connection.
    """
    quarter = int(heartbeat * 250)  # children ask half as often
    return [
        *_common(max_frame, heartbeat),
        ("grpc.so_reuseport", 0),
        ("grpc.max_allowed_incoming_connections", most_connections(children)),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.server_handshake_timeout_ms", int(heartbeat * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", quarter),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", quarter),
    ]
