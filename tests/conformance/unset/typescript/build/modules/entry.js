// The exports of the component: they call the functions of policy.js.
//
// An exception in `decide` is a line in the log and a deny, one in `configure` a problem of the settings. Uncaught it would
// end the instance without a word. So is what is no verdict: nothing at all, a promise, a record with a part missing.
import "./surroundings.js";
import { begin } from "./surroundings.js";
import { deny, log } from "portreeve";
import * as policy from "./policy.js";

export const lifecycle = {
  describe() {
    const { name, version, summary, settingsSchema } = policy.description;
    return { name, version, summary, settingsSchema: settingsSchema ? JSON.stringify(settingsSchema) : null };
  },

  configure(settings) {
    const problems = configured(JSON.parse(settings));
    if (problems?.length) throw problems;
  },
};

export const decision = {
  decide(request) {
    begin(request.now);
    let verdict;
    try {
      verdict = policy.decide(request);
    } catch (error) {
      return refused("policy-error", `the policy threw ${words(error)}`);
    }
    const fault = faultOf(verdict);
    return fault ? refused("no-verdict", `decide returned ${fault}`) : verdict;
  },
};

export const observer = {
  onEnded(event) {
    try {
      policy.onEnded(event);
    } catch (error) {
      log.write("error", `the policy threw ${words(error)}`);
    }
  },
};

function configured(settings) {
  if (!policy.configure) {
    return Object.keys(settings).length ? [{ at: "", message: "this policy has no settings" }] : [];
  }
  try {
    const problems = policy.configure(settings);
    return isPromise(problems) ? [{ at: "", message: "configure returned a promise: it must not be async" }] : problems;
  } catch (error) {
    return [{ at: "", message: words(error) }];
  }
}

function refused(code, reason) {
  log.write("error", reason);
  return deny(code, reason);
}

// What is wrong with a verdict, in words; nothing if it can be handed over.
function faultOf(verdict) {
  if (isPromise(verdict)) return "a promise: decide must not be async";
  if (!isRecord(verdict)) return `${shown(verdict)}, which is no verdict: return allow(), deny(…) or rewrite(…)`;
  const { tag, val } = verdict;
  switch (tag) {
    case "allow":
      return null;
    case "allow-with":
      return faultOfTerms(val);
    case "deny":
      if (!isRecord(val)) return `a denial with ${shown(val)} in place of code and reason`;
      return faultOfTexts("a denial", val, ["code", "reason"]) ?? faultOfOptional("a denial", val, ["tellUser"], "string");
    case "rewrite":
      if (!isRecord(val)) return `a rewrite with ${shown(val)} in place of target and reason`;
      return (
        faultOfEndpoint(val.to) ?? faultOfTexts("a rewrite", val, ["reason"]) ?? (val.terms == null ? null : faultOfTerms(val.terms))
      );
    default:
      return `a verdict with the tag ${shown(tag)}: there are allow, allow-with, deny and rewrite`;
  }
}

function faultOfEndpoint(to) {
  if (to?.tag === "socket" && typeof to.val === "string") return null;
  const tcp = to?.tag === "tcp" && isRecord(to.val) && typeof to.val.host === "string";
  return tcp && Number.isInteger(to.val.port) && to.val.port >= 0 && to.val.port <= 65535
    ? null
    : `a rewrite to ${shown(to)}, which is no endpoint`;
}

function faultOfTerms(terms) {
  if (!isRecord(terms)) return `terms that are ${shown(terms)}`;
  const numbers = ["maxSeconds", "idleSeconds", "maxBytes", "bytesPerSecond", "recheckSeconds", "reuseSeconds"];
  const fault = faultOfOptional("terms", terms, numbers, "number");
  if (fault) return fault;
  const bad = numbers.find((name) => terms[name] != null && !(Number.isInteger(terms[name]) && terms[name] >= 0));
  if (bad) return `terms whose ${bad} is ${shown(terms[bad])}, which is no whole number from 0 on`;
  for (const name of ["addressRules", "tags", "obligations", "hints"]) {
    if (!Array.isArray(terms[name])) return `terms whose ${name} is ${shown(terms[name])}: terms({ … }) makes them whole`;
  }
  for (const rule of terms.addressRules) {
    if (typeof rule?.cidr !== "string") return `an address rule whose cidr is ${shown(rule?.cidr)}`;
    if (rule.effect !== "permit" && rule.effect !== "refuse") return `an address rule whose effect is ${shown(rule.effect)}`;
  }
  for (const [name, value] of terms.tags) {
    if (typeof name !== "string" || typeof value !== "string") return `a tag ${shown(name)} that is ${shown(value)}`;
  }
  return null;
}

function faultOfTexts(what, record, names) {
  const bad = names.find((name) => typeof record[name] !== "string");
  return bad ? `${what} whose ${bad} is ${shown(record[bad])}, which is no string` : null;
}

function faultOfOptional(what, record, names, kind) {
  const bad = names.find((name) => record[name] != null && typeof record[name] !== kind);
  return bad ? `${what} whose ${bad} is ${shown(record[bad])}, which is no ${kind}` : null;
}

function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isPromise(value) {
  return typeof value?.then === "function";
}

function shown(value) {
  try {
    return JSON.stringify(value)?.slice(0, 200) ?? String(value);
  } catch {
    return typeof value;
  }
}

// An error of a host interface has what WIT calls the error of a result as its payload.
function words(error) {
  if (!(error instanceof Error)) return shown(error);
  if (error.payload !== undefined) return `Error: ${JSON.stringify(error.payload)}`;
  const place = error.stack?.split("\n", 1)[0].trim();
  return place ? `${error} ${place}` : String(error);
}
