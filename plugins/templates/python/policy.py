"""Which ports may be forwarded. bindings/portreeve.py has short forms, bindings/wit_world/imports/types.py all types."""

from portreeve import Problem, Request, Verdict, allow, deny, tcp

NAME = "{{name}}"
VERSION = "0.1.0"
SUMMARY = "connections to some ports"

ports = [22]


def configure(settings: dict) -> list[Problem]:
    """Reads the settings. Called once, before anything is decided."""
    global ports
    for key in settings:
        if key != "ports":
            return [Problem(f"/{key}", "unknown: this policy knows `ports`")]
    ports = settings.get("ports", ports)
    if not isinstance(ports, list) or not all(isinstance(port, int) for port in ports):
        return [Problem("/ports", "must be a list of ports")]
    return []


def decide(request: Request) -> Verdict:
    """Answers one request."""
    if request.action.name != "CONNECT":
        return deny("only-connections", "not a connection", "only connections can be forwarded here")
    place = tcp(request)
    if place is not None and place.port in ports:
        return allow()
    return deny("other-port", "not a port of the settings", "this port cannot be reached from here")
