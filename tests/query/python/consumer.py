"""A consumer in Python, with nothing but what is generated from query.proto.

usage: consumer.py ADDRESS CA_FILE SERVER_NAME TOKEN NAMESPACE TICKS

Prints one JSON object a line: what reflection says, each page, each tick of a watch, and what Explain says.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from kubevitals.v1 import query_pb2, query_pb2_grpc


def say(what, **values):
    print(json.dumps({"what": what} | values), flush=True)


def connect(address, ca_file, server_name, token):
    with open(ca_file, "rb") as file:
        tls = grpc.ssl_channel_credentials(file.read())
    credentials = grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", server_name)])


def reflect(channel):
    """What grpcurl does without a .proto: it asks the server for its own."""
    database = ProtoReflectionDescriptorDatabase(channel)
    file = database.FindFileContainingSymbol("kubevitals.v1.Query")
    assert isinstance(file, descriptor_pb2.FileDescriptorProto)
    methods = [method.name for service in file.service for method in service.method]
    say("reflection", services=sorted(database.get_services()), file=file.name, methods=methods)


def pages(query, selection):
    token = ""
    while True:
        request = query_pb2.ListRequest(selection=selection, page_size=2, page_token=token)
        page = query.List(request, timeout=10)
        for usage in page.usages:
            say(
                "usage",
                pod=usage.subject.pod,
                cpu_nanocores=usage.cpu_nanocores,
                working_set_bytes=usage.working_set_bytes,
                window_s=usage.window.ToTimedelta().total_seconds(),
                time=usage.time.ToJsonString(),
            )
        for absent in page.absent:
            say("absent", pod=absent.subject.pod, reason=query_pb2.AbsenceReason.Name(absent.reason))
        token = page.next_page_token
        if not token:
            return


def watch(query, selection, ticks):
    stream = query.Watch(query_pb2.WatchRequest(selection=selection), timeout=60)
    for message in stream:
        say(
            "tick",
            full=message.full,
            pods=[usage.subject.pod for usage in message.usages],
            position=bool(message.position),
        )
        if not message.more:
            ticks -= 1
        if ticks == 0:
            stream.cancel()
            return


def explain(query, namespace, name):
    pod = query_pb2.PodRef(namespace=namespace, name=name)
    told = query.Explain(query_pb2.ExplainRequest(pod=pod), timeout=10)
    say(
        "explain",
        verdict=query_pb2.Verdict.Name(told.verdict),
        reason=query_pb2.AbsenceReason.Name(told.reason),
        message=told.message,
        chain=[query_pb2.LinkKind.Name(link.kind) for link in told.chain],
    )


def main():
    address, ca_file, server_name, token, namespace, ticks = sys.argv[1:]
    with connect(address, ca_file, server_name, token) as channel:
        reflect(channel)
        query = query_pb2_grpc.QueryStub(channel)
        selection = query_pb2.Selection(level=query_pb2.LEVEL_PODS, namespaces=[namespace])
        pages(query, selection)
        watch(query, selection, int(ticks))
        explain(query, namespace, "no-such-pod")
        try:
            query.List(query_pb2.ListRequest(selection=query_pb2.Selection(names=["No Name"])), timeout=10)
        except grpc.RpcError as error:
            say("refused", code=error.code().name, details=error.details())


main()
