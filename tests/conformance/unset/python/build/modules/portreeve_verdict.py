"""What is wrong with a verdict, in words: handed over as it is, it would end the instance without any."""

import inspect

from wit_world.imports.types import (
    AddressRule,
    Denial,
    Effect,
    Endpoint_Socket,
    Endpoint_Tcp,
    HostPort,
    Redirect,
    Terms,
    Value_Flag,
    Value_Number,
    Value_Text,
    Value_Texts,
    Verdict_Allow,
    Verdict_AllowWith,
    Verdict_Deny,
    Verdict_Rewrite,
)


def fault_of(verdict: object) -> str | None:
    """None if it can be handed over."""
    match verdict:
        case Verdict_Allow():
            return None
        case Verdict_AllowWith(terms):
            return _terms(terms)
        case Verdict_Deny(denial):
            return _denial(denial)
        case Verdict_Rewrite(redirect):
            return _redirect(redirect)
    if inspect.iscoroutine(verdict):
        verdict.close()
        return "a coroutine: decide must not be async"
    return f"{_shown(verdict)}, which is no verdict: return allow(), deny(...) or rewrite(...)"


def _denial(denial: object) -> str | None:
    if not isinstance(denial, Denial):
        return f"a denial that is {_shown(denial)}"
    texts = {"code": denial.code, "reason": denial.reason, "tell_user": denial.tell_user or ""}
    return _texts("a denial", texts)


def _redirect(redirect: object) -> str | None:
    if not isinstance(redirect, Redirect):
        return f"a rewrite that is {_shown(redirect)}"
    match redirect.to:
        case Endpoint_Tcp(HostPort(str(), port)) if _whole(port, 0xFFFF):
            pass
        case Endpoint_Socket(str()):
            pass
        case other:
            return f"a rewrite to {_shown(other)}, which is no endpoint"
    terms = None if redirect.terms is None else _terms(redirect.terms)
    return terms or _texts("a rewrite", {"reason": redirect.reason})


def _terms(terms: object) -> str | None:
    if not isinstance(terms, Terms):
        return f"terms that are {_shown(terms)}"
    most = {"max_seconds": 32, "idle_seconds": 32, "max_bytes": 64, "bytes_per_second": 64, "recheck_seconds": 32, "reuse_seconds": 32}
    for name, bits in most.items():
        number = getattr(terms, name)
        if number is not None and not _whole(number, 2**bits - 1):
            return f"terms whose {name} is {_shown(number)}, which is no whole number of {bits} bits"
    for rule in terms.address_rules:
        if not (isinstance(rule, AddressRule) and isinstance(rule.cidr, str) and isinstance(rule.effect, Effect)):
            return f"{_shown(rule)} as an address rule: it is an AddressRule of a str and an Effect"
    for name, text in terms.tags:
        if not (isinstance(name, str) and isinstance(text, str)):
            return f"a tag {_shown(name)} that is {_shown(text)}: both are of type str"
    for name, value in [*terms.obligations, *terms.hints]:
        match value:
            case Value_Text(str()) | Value_Flag(bool()):
                continue
            case Value_Number(int(number)) if -(2**63) <= number < 2**63:
                continue
            case Value_Texts(list(texts)) if all(isinstance(text, str) for text in texts):
                continue
        return f"the value {_shown(value)} of {_shown(name)}, which is no value of the contract"
    return None


def _texts(what: str, texts: dict[str, object]) -> str | None:
    bad = [(name, text) for name, text in texts.items() if not isinstance(text, str)]
    return f"{what} whose {bad[0][0]} is {_shown(bad[0][1])}, which is no str" if bad else None


def _whole(number: object, most: int) -> bool:
    return isinstance(number, int) and 0 <= number <= most


def _shown(value: object) -> str:
    try:
        return repr(value)[:200]
    except Exception:
        return f"a {type(value).__name__}"
