"""The conformance guest in Python. What it answers: tests/conformance/README.md."""

from componentize_py_types import Err
from portreeve import AddressRule, Problem, Request, Verdict, allow, deny, log, rewrite, terms
from render import digest, option, render, render_request
from wit_world.imports import calendar, names, state, view
from wit_world.imports.names import LookupError_Failed
from wit_world.imports.types import Effect, Endpoint, Endpoint_Socket, Redirect, Verdict_AllowWith, Verdict_Rewrite

NAME = "conformance"
VERSION = "0.1.0"
SUMMARY = "answers what the suite expects: ключ 日本語 🚪"
SETTINGS_SCHEMA = {"type": "object"}

greeting = "-"


def configure(settings: dict) -> list[Problem]:
    global greeting
    if "refuse" in settings:
        return [Problem("/refuse", "refused"), Problem("/ключ", "日本語 🚪")]
    greeting = settings.get("greeting", greeting)
    return []


def decide(request: Request) -> Verdict:
    word, number = label(request.target)
    match word:
        case "allow":
            return allow()
        case "nothing":
            return Verdict_AllowWith(terms())
        case "terms":
            return allow(**full_terms())
        case "largest":
            return allow(max_seconds=2**32 - 1, max_bytes=2**64 - 1, hints={"least": -(2**63), "most": 2**63 - 1})
        case "rules":
            return allow(address_rules=[rule(index) for index in range(number)])
        case "tags":
            return allow(tags={f"tag-{index}": str(index) for index in range(number)})
        case "badcidr":
            return allow(address_rules=[AddressRule("10.0.0.0/33", Effect.PERMIT)])
        case "obligation":
            return allow(obligations={"launch": 1})
        case "deny":
            return deny("conformance", "denied")
        case "tell":
            return deny("conformance", "told", "ключ 日本語 🚪")
        case "empty":
            return deny("conformance", "", "")
        case "badcode":
            return deny("not a word", "")
        case "words":
            return deny("words", "x" * number)
        case "rewrite":
            return rewrite("elsewhere.internal", 8443, "moved")
        case "rewriteterms":
            return rewrite("elsewhere.internal", 8443, "moved", **full_terms())
        case "rewritesocket":
            return Verdict_Rewrite(Redirect(Endpoint_Socket("/run/elsewhere.sock"), "moved", None))
        case "panic":
            raise RuntimeError("asked to")
        case "spin":
            while True:
                pass
        case "settings":
            return deny("settings", greeting)
        case "log":
            log.write(log.Level.DEBUG, "debug line")
            log.write(log.Level.INFO, "info line")
            log.write(log.Level.WARN, "warn line")
            log.write(log.Level.ERROR, "error line: ключ 日本語 🚪")
            return allow()
        case "lines":
            for index in range(1, number + 1):
                log.write(log.Level.INFO, f"line {index}")
            return allow()
        case "names":
            return deny("names", ask_names(request.target, number))
        case "state":
            return deny("state", ask_state(number))
        case "large":
            return deny("large", f"put={put('big', bytes(65537))}")
        case "calendar":
            return deny("calendar", ask_calendar(request.now, number))
        case "methods":
            return deny("methods", render(request.principal.credential.methods))
        case "view":
            return deny("view", ask_view(request.principal.user))
        case "digest":
            return deny("digest", digest(render_request(request)))
    return deny("echo", render_request(request))


def on_ended(event) -> None:
    counts = f"milliseconds={event.milliseconds} bytes-up={event.bytes_up} bytes-down={event.bytes_down}"
    words = f"id={render(event.id)} cause={render(event.cause)} {counts} dialled={option(event.dialled)}"
    log.write(log.Level.INFO, f"ended {words}")


def label(target: Endpoint) -> tuple[str, int]:
    name = target.value.rsplit("/", 1)[1] if isinstance(target, Endpoint_Socket) else target.value.host
    word = name.split(".", 1)[0]
    head, hyphen, digits = word.rpartition("-")
    return (head, int(digits)) if hyphen and digits.isdecimal() else (word, 0)


def full_terms() -> dict:
    return {
        "max_seconds": 60,
        "idle_seconds": 30,
        "max_bytes": 9007199254740991,
        "bytes_per_second": 65536,
        "address_rules": [AddressRule("10.0.0.0/8", Effect.PERMIT), AddressRule("::/0", Effect.REFUSE)],
        "recheck_seconds": 15,
        "reuse_seconds": 5,
        "tags": {"rule": "terms", "ключ": "日本語 🚪"},
        "obligations": {"replace-socket": True},
        "hints": {"text": "words", "texts": ["one", "two"], "number": -7, "flag": False},
    }


def rule(index: int) -> AddressRule:
    return AddressRule(f"10.{index // 256}.{index % 256}.0/24", Effect.REFUSE if index % 2 else Effect.PERMIT)


def ask_names(target: Endpoint, number: int) -> str:
    if not number:
        return lookup(target.value.host.split(".", 1)[1])
    return [lookup(f"n{index}.internal") for index in range(1, number + 1)][-1]


def lookup(host: str) -> str:
    try:
        return render(names.resolve(host))
    except Err as error:
        if isinstance(error.value, LookupError_Failed):
            return f"err(failed {render(error.value.value)})"
        return f"err({case(error.value)})"


def ask_state(number: int) -> str:
    if number:
        return [added("n", 1) for _ in range(number)][-1]
    text, stored, key = got("text"), put("key", bytes([0, 1, 255])), got("key")
    return f"text={text} put={stored} key={key} add={added('counter', 2)} add={added('counter', -5)}"


def got(key: str) -> str:
    try:
        there = state.get(key)
        return "-" if there is None else there.hex()
    except Err as error:
        return f"err({case(error.value)})"


def put(key: str, value: bytes) -> str:
    try:
        state.put(key, value, 60)
        return "ok"
    except Err as error:
        return f"err({case(error.value)})"


def added(key: str, delta: int) -> str:
    try:
        return str(state.add(key, delta, 60))
    except Err as error:
        return f"err({case(error.value)})"


def case(error: object) -> str:
    """`too-large` of the class `StateError_TooLarge`."""
    name = type(error).__name__.split("_", 1)[1]
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def ask_view(user: str) -> str:
    facts = [f" {name}={option(view.fact(name))}" for name in ("text", "texts", "number", "flag", "absent")]
    return f"open={view.open_forwards(user)}" + "".join(facts)


def ask_calendar(now: int, number: int) -> str:
    try:
        at = calendar.local(now, "Mars/Olympus" if number else "Asia/Kathmandu")
    except Err as error:
        return f"err({error.value.name.lower().replace('_', '-')})"
    return f"{at.year}-{at.month}-{at.day} {at.hour}:{at.minute}:{at.second} {at.weekday} {at.utc_offset}"
