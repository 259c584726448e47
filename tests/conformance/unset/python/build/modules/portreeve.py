"""Short forms for policies in Python: verdicts, terms and values. `wit_world.imports.types` has all types."""

from wit_world.imports import log
from wit_world.imports.types import (
    AddressRule,
    Denial,
    Endpoint_Tcp,
    HostPort,
    Problem,
    Redirect,
    Request,
    Terms,
    Value_Flag,
    Value_Number,
    Value_Text,
    Value_Texts,
    Verdict,
    Verdict_Allow,
    Verdict_AllowWith,
    Verdict_Deny,
    Verdict_Rewrite,
)

__all__ = [
    "AddressRule", "Problem", "Request", "Verdict",
    "allow", "deny", "facts", "log", "rewrite", "tcp", "terms",
]  # fmt: skip


def allow(**on: object) -> Verdict:
    """Allows, on the terms that are given: `allow(max_seconds=60, tags={"rule": "canary"})`."""
    return Verdict_AllowWith(terms(**on)) if on else Verdict_Allow()


def deny(code: str, reason: str, tell_user: str | None = None) -> Verdict:
    """Refuses. The code is a stable name of the rule, the reason is for the audit log; the user sees `tell_user`."""
    return Verdict_Deny(Denial(code, reason, tell_user))


def rewrite(host: str, port: int, reason: str, **on: object) -> Verdict:
    """Connects or listens elsewhere (`rewrite = true` in policy.toml and in the gateway's configuration)."""
    return Verdict_Rewrite(Redirect(Endpoint_Tcp(HostPort(host, port)), reason, terms(**on) if on else None))


def tcp(request: Request) -> HostPort | None:
    """Host and port of the target, or None where it is a Unix socket."""
    return request.target.value if isinstance(request.target, Endpoint_Tcp) else None


def terms(
    *,
    max_seconds: int | None = None,
    idle_seconds: int | None = None,
    max_bytes: int | None = None,
    bytes_per_second: int | None = None,
    address_rules: list[AddressRule] | None = None,
    recheck_seconds: int | None = None,
    reuse_seconds: int | None = None,
    tags: dict[str, str] | None = None,
    obligations: dict[str, object] | None = None,
    hints: dict[str, object] | None = None,
) -> Terms:
    """Terms of an allow or a rewrite; what is not given is the gateway's default."""
    return Terms(
        max_seconds,
        idle_seconds,
        max_bytes,
        bytes_per_second,
        address_rules or [],
        recheck_seconds,
        reuse_seconds,
        list((tags or {}).items()),
        [(name, _value(given)) for name, given in (obligations or {}).items()],
        [(name, _value(given)) for name, given in (hints or {}).items()],
    )


def facts(pairs: list) -> dict[str, object]:
    """`request.principal.claims` or `request.extra` as a dictionary of str, list, int and bool."""
    return {name: given.value for name, given in pairs}


def _value(given: object):
    match given:
        case bool():
            return Value_Flag(given)
        case int():
            return Value_Number(given)
        case str():
            return Value_Text(given)
        case list():
            return Value_Texts(given)
    raise TypeError(f"a value is a str, a list of str, an int or a bool, not {given!r}")
