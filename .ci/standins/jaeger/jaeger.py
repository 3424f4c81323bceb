#!/usr/bin/env python3
"""A stand-in for Jaeger: keeps the spans it is sent and answers the questions that tests ask.

Real here: OTLP over HTTP on port 4318, as protobuf or JSON, plain or gzip; spans of different senders put
together into traces by their ids; Jaeger's JSON at /api/services, /api/services/{name}/operations,
/api/traces?service=… and /api/traces/{id} on port 16686.
Not here: pages, OTLP over gRPC, storage, sampling, search by duration, dependencies.
"""

import base64
import collections
import gzip
import http.server
import json
import os
import re
import signal
import threading
import urllib.parse

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

TRACES_MAX = 20_000
BODY_SIZE_MAX = 64 << 20
LIMIT_DEFAULT = 100

# {trace id: {span id: span}}, the oldest trace first; a span as Jaeger's JSON has it, with its process inside.
traces = collections.OrderedDict()
received = {"requests": 0, "spans": 0}
lock = threading.Lock()


def plain(value):
    """An OTLP value as (Jaeger's type, value)."""
    kind = value.WhichOneof("value")
    if kind == "bool_value":
        return "bool", value.bool_value
    if kind == "int_value":
        return "int64", value.int_value
    if kind == "double_value":
        return "float64", value.double_value
    if kind == "string_value":
        return "string", value.string_value
    return "string", json.dumps(json_format.MessageToDict(value))


def tags(attributes):
    return [dict(zip(("key", "type", "value"), (item.key, *plain(item.value)))) for item in attributes]


def tag(key, value):
    kind = {bool: "bool", int: "int64", str: "string"}[type(value)]
    return {"key": key, "type": kind, "value": value}


def as_jaeger(span, scope, process):
    trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
    references = []
    if span.parent_span_id:
        parent = span.parent_span_id.hex()
        references.append({"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent})
    for link in span.links:
        references.append(
            {"refType": "FOLLOWS_FROM", "traceID": link.trace_id.hex(), "spanID": link.span_id.hex()})
    more = []
    if scope.name:
        more.append(tag("otel.scope.name", scope.name))
    if span.kind:
        more.append(tag("span.kind", trace_pb2.Span.SpanKind.Name(span.kind)[len("SPAN_KIND_"):].lower()))
    if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR:
        more += [tag("otel.status_code", "ERROR"), tag("error", True)]
    elif span.status.code == trace_pb2.Status.STATUS_CODE_OK:
        more.append(tag("otel.status_code", "OK"))
    if span.status.message:
        more.append(tag("otel.status_description", span.status.message))
    logs = [
        {"timestamp": event.time_unix_nano // 1000,
         "fields": [tag("event", event.name), *tags(event.attributes)]}
        for event in span.events]
    return {
        "traceID": trace_id, "spanID": span_id, "operationName": span.name, "references": references,
        "startTime": span.start_time_unix_nano // 1000,
        "duration": max(0, span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
        "tags": tags(span.attributes) + more, "logs": logs, "process": process, "warnings": None}


def keep(request):
    """Returns how many spans were refused because their ids are not ids."""
    refused = 0
    with lock:
        received["requests"] += 1
        for resource in request.resource_spans:
            attributes = tags(resource.resource.attributes)
            names = [item["value"] for item in attributes if item["key"] == "service.name"]
            process = {
                "serviceName": names[0] if names else "unknown_service",
                "tags": [item for item in attributes if item["key"] != "service.name"]}
            for scoped in resource.scope_spans:
                for span in scoped.spans:
                    if len(span.trace_id) != 16 or len(span.span_id) != 8:
                        refused += 1
                        continue
                    made = as_jaeger(span, scoped.scope, process)
                    traces.setdefault(made["traceID"], {})[made["spanID"]] = made
                    received["spans"] += 1
        while len(traces) > TRACES_MAX:
            traces.popitem(last=False)
    return refused


def trace_as_jaeger(trace_id, spans):
    processes, shown = {}, []
    for span in sorted(spans.values(), key=lambda span: span["startTime"]):
        process = span["process"]
        known = [name for name, other in processes.items() if other == process]
        name = known[0] if known else f"p{len(processes) + 1}"
        processes[name] = process
        shown.append({**{key: value for key, value in span.items() if key != "process"}, "processID": name})
    return {"traceID": trace_id, "spans": shown, "processes": processes, "warnings": None}


def search(query):
    """The newest traces that have one span with all that is asked for."""
    def one(name, default=None):
        return query.get(name, [default])[0]

    wanted = json.loads(one("tags", "{}"))
    for item in query.get("tag", []):
        key, _, value = item.partition(":")
        wanted[key] = value
    start, end = int(one("start", "0")), int(one("end", str(1 << 62)))

    def fits(span):
        if span["process"]["serviceName"] != one("service"):
            return False
        if one("operation") not in (None, "", span["operationName"]):
            return False
        if not start <= span["startTime"] <= end:
            return False
        has = {item["key"]: item["value"] for item in span["tags"] + span["process"]["tags"]}
        text = {key: json.dumps(value) if isinstance(value, bool) else str(value) for key, value in has.items()}
        return all(text.get(key) == value for key, value in wanted.items())

    with lock:
        found = [(trace_id, dict(spans)) for trace_id, spans in traces.items()
                 if any(fits(span) for span in spans.values())]
    found.sort(key=lambda item: -min(span["startTime"] for span in item[1].values()))
    return [trace_as_jaeger(*item) for item in found[:int(one("limit", str(LIMIT_DEFAULT)))]]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Receiver(Handler):
    """OTLP over HTTP."""

    def body(self):
        size = self.headers.get("Content-Length")
        if size is not None:
            if int(size) > BODY_SIZE_MAX:
                raise ValueError("the body is too large")
            data = self.rfile.read(int(size))
        else:
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(chunks)
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def do_POST(self):
        kind = self.headers.get("Content-Type", "").split(";")[0].strip()
        data = self.body()
        if self.path != "/v1/traces":
            return self.answer(404, {"message": "only /v1/traces is here"})
        request = trace_service_pb2.ExportTraceServiceRequest()
        response = trace_service_pb2.ExportTraceServiceResponse()
        try:
            if kind == "application/x-protobuf":
                request.ParseFromString(data)
            elif kind == "application/json":
                request = from_json(data)
            else:
                return self.answer(415, {"message": f"unknown content type {kind!r}"})
        except Exception as error:  # whatever the parser raises is the sender's fault
            print(f"a request that is not OTLP: {error}", flush=True)
            return self.answer(400, {"message": str(error)})
        refused = keep(request)
        if refused:
            response.partial_success.rejected_spans = refused
            response.partial_success.error_message = "ids of the wrong length"
        if kind == "application/json":
            return self.answer(200, json_format.MessageToDict(response))
        return self.answer(200, response.SerializeToString(), kind)


def from_json(data):
    """OTLP's JSON has ids in hexadecimal where protobuf's own JSON has base64."""
    def walk(value):
        if isinstance(value, dict):
            return {key: base64.b64encode(bytes.fromhex(item)).decode()
                    if key in ("traceId", "spanId", "parentSpanId") else walk(item)
                    for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    request = trace_service_pb2.ExportTraceServiceRequest()
    return json_format.ParseDict(walk(json.loads(data)), request, ignore_unknown_fields=True)


class Questions(Handler):
    """Jaeger's query API."""

    def data(self, data, status=200):
        errors = None if status == 200 else [{"code": status, "msg": "trace not found"}]
        count = len(data) if data else 0
        self.answer(status, {"data": data, "total": count, "limit": 0, "offset": 0, "errors": errors})

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query = urllib.parse.parse_qs(url.query)
        if url.path == "/":
            with lock:
                state = {"stand-in for": "jaeger", "traces": len(traces), **received}
            return self.answer(200, state)
        if url.path == "/api/services":
            return self.data(sorted({span["process"]["serviceName"] for span in all_spans()}))
        if match := re.fullmatch(r"/api/services/([^/]+)/operations", url.path):
            service = urllib.parse.unquote(match[1])
            return self.data(sorted({span["operationName"] for span in all_spans()
                                     if span["process"]["serviceName"] == service}))
        if url.path == "/api/traces":
            if "service" not in query:
                return self.answer(400, {"data": None, "errors": [
                    {"code": 400, "msg": "parameter 'service' is required"}]})
            return self.data(search(query))
        if match := re.fullmatch(r"/api/traces/([0-9a-fA-F]{1,32})", url.path):
            trace_id = match[1].lower().zfill(32)
            with lock:
                spans = dict(traces.get(trace_id, {}))
            return self.data([trace_as_jaeger(trace_id, spans)] if spans else None, 200 if spans else 404)
        return self.answer(404, {"errors": [{"code": 404, "msg": "not in this stand-in"}]})


def all_spans():
    with lock:
        return [span for spans in traces.values() for span in spans.values()]


def main():
    host = os.environ.get("JAEGER_LISTEN_HOST", "localhost")
    receiver = http.server.ThreadingHTTPServer((host, 4318), Receiver)
    questions = http.server.ThreadingHTTPServer((host, 16686), Questions)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    # As process 1 nothing ends it by default.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(f"stand-in for jaeger: OTLP on {host}:4318, questions on {host}:16686", flush=True)
    questions.serve_forever()


if __name__ == "__main__":
    main()
