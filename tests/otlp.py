#!/usr/bin/env python3
"""A gateway that exports to a collector, while a real `ssh` client forwards: the log lines and the spans that arrive.

    tests/otlp.py PORTREEVE      built with `--features otlp`

The collector is a server of this program on loopback, which reads what arrives with the messages of the OpenTelemetry project.
"""
import contextlib
import gzip
import http.server
import os
import sys
import tempfile
import threading
from pathlib import Path

import running
from running import SECRET_HOST, UP, Gateway, Target, alone, eventually


class Collector:
    """Takes spans and log lines by HTTP with protobuf; while it is `away`, it answers nothing."""

    def __init__(self):
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans, self.lines, self.services = [], [], set()
        self.away = threading.Event()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                if collector.away.is_set():
                    threading.Event().wait(30)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        collector.note(resource.resource)
                        for scope in resource.scope_spans:
                            collector.spans.extend(scope.spans)
                else:
                    assert self.path == "/v1/logs", self.path
                    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                        collector.note(resource.resource)
                        for scope in resource.scope_logs:
                            collector.lines.extend(scope.log_records)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def note(self, resource):
        self.services.update(one.value.string_value for one in resource.attributes if one.key == "service.name")

    def span(self, name, **said):
        """A span of that name with these attributes."""
        def fits(span):
            found = attributes(span)
            return span.name == name and all(found.get(f"portreeve.{key}") == value for key, value in said.items())

        return next((span for span in list(self.spans) if fits(span)), None)


def attributes(span):
    values = {"string_value", "int_value"}
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes
            if one.value.WhichOneof("value") in values}


def check(gateway, target, collector):
    connect = gateway.local(target.port)
    with connect() as near:
        near.sendall(b"x" * UP)
        wanted = running.DOWN
        while wanted > 0:
            wanted -= len(near.recv(1 << 16))
    gateway.refused()
    allowed = eventually("the span of a decision", lambda: collector.span("forward.decide", verdict="allow"))
    refused = eventually("that of a refusal", lambda: collector.span("forward.decide", verdict="deny", code="no-payroll"))
    tunnel = eventually("that of a tunnel", lambda: collector.span("forward.tunnel", cause="closed"))
    assert attributes(tunnel)["portreeve.bytes_up"] == UP, tunnel
    assert attributes(allowed)["user.name"] == "wilhelmine", allowed
    assert SECRET_HOST in attributes(refused)["portreeve.requested"], refused
    assert allowed.trace_id == tunnel.trace_id != refused.trace_id, "one trace for each session"
    assert tunnel.parent_span_id == allowed.parent_span_id, "both belong to the session"
    session = eventually("the span of the session that ended", lambda: collector.span("ssh.session"))
    assert session.trace_id == refused.trace_id and session.span_id == refused.parent_span_id, (session, refused)
    assert session.start_time_unix_nano <= refused.start_time_unix_nano <= session.end_time_unix_nano
    line = eventually("a log line", lambda: next((line for line in list(collector.lines) if line.body.string_value), None))
    assert line.severity_text in ("INFO", "WARN", "ERROR"), line
    assert collector.services == {"bastion"}, collector.services
    assert not [line for line in collector.lines if "http" in line.body.string_value.lower()], "its own lines"


def check_away(gateway, collector):
    """A collector that does not answer delays no forward."""
    collector.away.set()
    for _ in range(3):
        gateway.refused()


def main():
    running.PORTREEVE = sys.argv[1]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        collector = Collector()
        os.environ.update({
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SERVICE_NAME": "bastion",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BLRP_SCHEDULE_DELAY": "200",
        })
        gateway, target = Gateway(folder, stack), Target()
        check(gateway, target, collector)
        check_away(gateway, collector)
    print("spans and log lines arrive at the collector, and one that does not answer delays no forward")
    return 0


if __name__ == "__main__":
    alone(main, 300)
