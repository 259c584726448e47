"""The canonical text of what a guest is given."""

from wit_world.imports.types import (
    Certificate,
    Endpoint_Socket,
    Endpoint_Tcp,
    Request,
    SocketAddress,
    Value_Flag,
    Value_Number,
    Value_Text,
    Value_Texts,
)


def render_request(request: Request) -> str:
    principal, connection = request.principal, request.connection
    credential = principal.credential
    return " ".join(
        [
            f"id={render(request.id)} now={request.now} action={request.action.name.lower()}",
            f"target={render(request.target)} requested={render(request.requested)}",
            f"address={option(request.address)} originator={option(request.originator)}",
            f"user={render(principal.user)} groups={render(principal.groups)}",
            f"method={render(credential.method)} fingerprint={option(credential.fingerprint)}",
            f"certificate={option(credential.certificate)} claims={render(principal.claims)}",
            f"session={render(connection.id)} client={render(connection.client)}",
            f"server={render(connection.server)} software={render(connection.software)}",
            f"since={connection.since} dry-run={render(request.dry_run)} extra={render(request.extra)}",
        ]
    )


def render(given: object) -> str:
    match given:
        case bool():
            return "true" if given else "false"
        case int():
            return str(given)
        case str():
            return f'"{given}"'
        case list():
            return f"[{','.join(render(item) for item in given)}]"
        case (name, value):
            return f"{render(name)}={render(value)}"
        case Endpoint_Tcp(place):
            return f"tcp({render(place.host)},{place.port})"
        case Endpoint_Socket(path):
            return f"socket({render(path)})"
        case SocketAddress(ip, port):
            return f"({render(ip)},{port})"
        case Value_Text(value):
            return f"text({render(value)})"
        case Value_Texts(value):
            return f"texts({render(value)})"
        case Value_Number(value):
            return f"number({render(value)})"
        case Value_Flag(value):
            return f"flag({render(value)})"
        case Certificate():
            return certificate(given)
    raise TypeError(f"nothing renders {given!r}")


def certificate(given: Certificate) -> str:
    head = f"key-id={render(given.key_id)} serial={given.serial} issuer={render(given.issuer)}"
    times = f"valid-after={given.valid_after} valid-before={given.valid_before}"
    options = f"critical-options={render(given.critical_options)} extensions={render(given.extensions)}"
    return f"({head} principals={render(given.principals)} {times} {options})"


def option(given: object) -> str:
    return "-" if given is None else render(given)


def digest(text: str) -> str:
    value = 0x811C9DC5
    encoded = text.encode()
    for byte in encoded:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{len(encoded)} bytes, fnv1a {value:08x}"
