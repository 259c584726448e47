#!/usr/bin/env python3
"""A real Prometheus scrapes a running gateway, with the rules and the dashboard of examples/monitoring.

The program is target/debug/portreeve (`cargo build` first), or the one that PORTREEVE names. Without prometheus nothing is checked,
and with CI set in the environment that is a failure (tests/install.sh unpacks it).
"""
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path

from running import PATIENCE, ROOT, TARGET, UP, Gateway, Target, alone, eventually, process

EXAMPLES = ROOT / "examples" / "monitoring"
# What an administrator has in Grafana.
VARIABLES = {"$instance": ".*", "$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s"}


class Prometheus:
    """The server, with the configuration of the examples and this gateway in it."""

    def __init__(self, folder, gateway, stack):
        text = (EXAMPLES / "prometheus.yml").read_text()
        assert "127.0.0.1:9464\"]" in text
        text = text.replace("127.0.0.1:9464", f"127.0.0.1:{gateway.http_port}")
        # There is no blackbox exporter here.
        text = text.replace("127.0.0.1:9115", "127.0.0.1:1")
        (folder / "prometheus.yml").write_text("global: { scrape_interval: 1s, evaluation_interval: 1s }\n" + text)
        shutil.copy(EXAMPLES / "alerts.yml", folder)
        command = [PROGRAM, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command += ["--web.listen-address=127.0.0.1:0", "--log.format=json"]
        child = stack.enter_context(process(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        self.port = None
        for line in child.stderr:
            listens = re.search(r'"address":"127\.0\.0\.1:(\d+)".*"msg":"Listening on"', line)
            if listens:
                self.port = int(listens.group(1))
                break
        assert self.port, "it said nowhere where it listens"
        threading.Thread(target=child.stderr.read, daemon=True).start()
        eventually("a server that is ready", lambda: self.ask("/-/ready")[0] == 200)

    def ask(self, path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, path, **query):
        answer = json.loads(self.ask(f"/api/v1/{path}?{urllib.parse.urlencode(query)}")[1])
        assert answer["status"] == "success", f"{path} {query}: {answer}"
        return answer["data"]

    def value(self, expression):
        """The sum of what it finds; none where there is nothing."""
        found = self.get("query", query=expression)["result"]
        return sum(float(one["value"][1]) for one in found) if found else None


def expressions(node):
    """Every query of a dashboard."""
    if isinstance(node, dict):
        yield from (node[key] for key in node if key == "expr")
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from expressions(one)


def check_scrape(prometheus):
    eventually("the first scrape", lambda: prometheus.value('up{job="portreeve"}') == 1)
    targets = prometheus.get("targets", state="active")["activeTargets"]
    ours = next(target for target in targets if target["labels"]["job"] == "portreeve")
    assert not ours["lastError"], ours
    unexplained = [one["metric"] for one in prometheus.get("targets/metadata", match_target='{job="portreeve"}')
                   if one["metric"].startswith("portreeve_") and not one["help"]]
    assert not unexplained, unexplained


def check_counts(prometheus, gateway, connect):
    near = connect()
    near.sendall(b"x" * UP)
    gateway.refused()
    for expression, least in (
        ('portreeve_decisions_total{verdict="allow"}', 1),
        ('portreeve_decisions_total{verdict="deny",by="policy"}', 1),
        ("portreeve_tunnels", 1),
        ("portreeve_sessions", 1),
        ('portreeve_relayed_bytes_total{direction="up"}', UP),
        ('portreeve_auth_total{result="succeeded"}', 1),
        ("portreeve_decision_seconds_count", 2),
        ("portreeve_build_info", 1),
    ):
        eventually(f"{expression} of at least {least}", lambda: (prometheus.value(expression) or 0) >= least)


def check_labels(prometheus):
    """No user, host or address is in a label."""
    series = prometheus.get("series", **{"match[]": '{job="portreeve"}'})
    for one in series:
        words = {value for key, value in one.items() if key not in ("instance", "job", "__name__")}
        assert not [word for word in words if "wilhelmine" in word or "127.0.0.1" in word or "secret" in word], one


def check_dashboard(prometheus):
    text = (EXAMPLES / "dashboard.json").read_text()
    asked = list(expressions(json.loads(text)))
    assert len(asked) > 10, asked
    for expression in asked:
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)
        assert "$" not in expression, expression
        prometheus.get("query", query=expression)
    # Every metric that they name is there, or counts what has not happened here.
    series = prometheus.get("label/__name__/values")
    for name in set(re.findall(r"portreeve_[a-z_]+", text)):
        rare = name in ("portreeve_dial_failures_total", "portreeve_tunnel_closes_total", "portreeve_policy_differences_total")
        assert name in series or rare, f"{name} is in the dashboard and nowhere else"


def check_rules(prometheus):
    def healthy():
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert not [rule for rule in rules if rule["health"] == "err"], rules
        return rules if all(rule["health"] == "ok" for rule in rules) else None

    rules = eventually("every rule evaluated", healthy)
    loud = [rule["name"] for rule in rules if rule["state"] != "inactive" and rule["name"] != "PortreeveNotReady"]
    assert not loud, f"a gateway that is well: {loud}"


def check_gone(prometheus, gateway):
    gateway.kill()

    def pending():
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return next(rule for rule in rules if rule["name"] == "PortreeveDown")["state"] in ("pending", "firing")

    eventually("the alert for a gateway that is gone", pending)


def main():
    if PROGRAM is None:
        print("not checked: prometheus is missing (tests/install.sh unpacks it)")
        return 1 if os.environ.get("CI") else 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        gateway, target = Gateway(folder, stack), Target()
        connect = gateway.local(target.port)
        prometheus = Prometheus(folder, gateway, stack)
        check_scrape(prometheus)
        check_counts(prometheus, gateway, connect)
        check_labels(prometheus)
        check_dashboard(prometheus)
        check_rules(prometheus)
        check_gone(prometheus, gateway)
    print("Prometheus scrapes the gateway, answers every query of the dashboard, and evaluates every rule")
    return 0


PROGRAM = shutil.which("prometheus", path=f"{os.environ['PATH']}:{TARGET / 'tools' / 'prometheus' / 'usr' / 'bin'}")

if __name__ == "__main__":
    alone(main, 600)
