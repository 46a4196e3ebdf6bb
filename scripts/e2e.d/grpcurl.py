"""As much of `grpcurl -plaintext` as the README uses, on Python's gRPC and reflection.

grpcurl -plaintext [-d JSON] ADDRESS list
grpcurl -plaintext [-d JSON] ADDRESS package.Service/Method
"""

import sys

import rpc
from google.protobuf import json_format


def main(arguments: list[str]) -> None:
    """Prints the services, or the answer as JSON."""
    arguments.remove("-plaintext")
    data = "{}"
    if "-d" in arguments:
        at = arguments.index("-d")
        data = arguments[at + 1]
        del arguments[at : at + 2]
    address, path = arguments
    port = int(address.rpartition(":")[2])
    if path == "list":
        print("\n".join(rpc.services(port)))
        return
    schema = rpc.schema(port)
    request, _ = schema.method(path)
    message = json_format.Parse(data, request())
    stub, _ = schema.stub(schema.channel, path)
    print(json_format.MessageToJson(stub(message, timeout=10)))


main(sys.argv[1:])
