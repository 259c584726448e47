// Short forms for policies in JavaScript and TypeScript: verdicts, terms and values. portreeve.d.ts has their types.
import log from "portreeve:policy/log@0.2.0";

export { log };

export function allow(on) {
  return on ? { tag: "allow-with", val: terms(on) } : { tag: "allow" };
}

export function deny(code, reason, tellUser = null) {
  return { tag: "deny", val: { code, reason, tellUser } };
}

export function rewrite(host, port, reason, on) {
  const to = { tag: "tcp", val: { host, port } };
  return { tag: "rewrite", val: { to, reason, terms: on ? terms(on) : null } };
}

export function tcp(request) {
  return request.target.tag === "tcp" ? request.target.val : null;
}

export function facts(pairs) {
  return Object.fromEntries(pairs.map(([name, value]) => [name, value.val]));
}

export function terms(on) {
  return {
    maxSeconds: on.maxSeconds ?? null,
    idleSeconds: on.idleSeconds ?? null,
    maxBytes: on.maxBytes ?? null,
    bytesPerSecond: on.bytesPerSecond ?? null,
    addressRules: on.addressRules ?? [],
    recheckSeconds: on.recheckSeconds ?? null,
    reuseSeconds: on.reuseSeconds ?? null,
    tags: Object.entries(on.tags ?? {}),
    obligations: values(on.obligations),
    hints: values(on.hints),
  };
}

function values(given) {
  return Object.entries(given ?? {}).map(([name, value]) => [name, toValue(value)]);
}

function toValue(given) {
  switch (typeof given) {
    case "boolean":
      return { tag: "flag", val: given };
    case "number":
      return { tag: "number", val: given };
    case "string":
      return { tag: "text", val: given };
  }
  if (Array.isArray(given)) return { tag: "texts", val: given };
  throw new TypeError(`a value is a string, a list of strings, a whole number or a boolean, not ${given}`);
}
