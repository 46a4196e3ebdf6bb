"""A gRPC client that knows nothing of us: it learns every type from a server's reflection."""

import functools
import os
import threading

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402
from google.protobuf import descriptor_pool, message_factory  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: E402
    ProtoReflectionDescriptorDatabase,
)

OPTIONS = [
    # Each client has a connection of its own, and no proxy between.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def channel(port: int) -> grpc.Channel:
    """A connection to a published port."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)


def services(port: int) -> list[str]:
    """The services that the server behind a port says it has."""
    with channel(port) as to:
        return sorted(ProtoReflectionDescriptorDatabase(to).get_services())


class Schema:
    """The types of a server, learnt while they are used."""

    def __init__(self, port: int):
        self.channel = channel(port)
        # A pool that asks elsewhere may be asked by one at a time.
        self.lock = threading.Lock()
        self.pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))

    def method(self, path: str):
        """Request and response of `package.Service/Method`."""
        service, _, name = path.partition("/")
        with self.lock:
            described = self.pool.FindServiceByName(service).methods_by_name[name]
            return (
                message_factory.GetMessageClass(described.input_type),
                message_factory.GetMessageClass(described.output_type),
            )

    def stub(self, to: grpc.Channel, path: str):
        """What calls a method; and the class of its request."""
        request, response = self.method(path)
        call = to.unary_unary(
            f"/{path}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call, request


@functools.cache
def schema(port: int) -> Schema:
    """The types of the server behind a port."""
    return Schema(port)


def call(known: Schema, port: int, path: str, seconds: float = 10, **fields):
    """Calls a method over a connection made for it."""
    with channel(port) as to:
        stub, request = known.stub(to, path)
        return stub(request(**fields), timeout=seconds)


def details(error: grpc.RpcError) -> dict[str, bytes]:
    """The rich details of an error: type name to encoded value."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return {
                dict(fields(detail))[1].decode().rpartition("/")[2]: dict(fields(detail))[2]
                for number, detail in fields(value)
                if number == 3
            }
    return {}


def retry_delay_seconds(error: grpc.RpcError) -> float | None:
    """How long a caller is asked to wait, when it is."""
    info = details(error).get("google.rpc.RetryInfo")
    if info is None:
        return None
    delay = dict(fields(dict(fields(info)).get(1, b"")))
    return delay.get(1, 0) + delay.get(2, 0) / 1e9


def fields(encoded: bytes):
    """Number and value of each field of an encoded message, of the wire types that errors use."""
    at = 0
    while at < len(encoded):
        key, at = varint(encoded, at)
        value, at = varint(encoded, at)
        if key & 7 == 2:
            value, at = encoded[at : at + value], at + value
        yield key >> 3, value


def varint(encoded: bytes, at: int) -> tuple[int, int]:
    """A number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = encoded[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
