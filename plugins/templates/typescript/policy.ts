// Which ports may be forwarded. bindings/portreeve.d.ts has all types and short forms.
import { allow, deny, tcp } from "portreeve";
import type { Problem, Request, Verdict } from "portreeve";

export const description = { name: "{{name}}", version: "0.1.0", summary: "connections to some ports" };

let ports: number[] = [22];

/** Reads the settings. Called once, before anything is decided. */
export function configure(settings: { ports?: unknown }): Problem[] {
  for (const key of Object.keys(settings)) {
    if (key !== "ports") return [{ at: `/${key}`, message: "unknown: this policy knows `ports`" }];
  }
  const given = settings.ports ?? ports;
  if (!Array.isArray(given) || !given.every(Number.isInteger)) {
    return [{ at: "/ports", message: "must be a list of ports" }];
  }
  ports = given;
  return [];
}

/** Answers one request. */
export function decide(request: Request): Verdict {
  if (request.action !== "connect") {
    return deny("only-connections", "not a connection", "only connections can be forwarded here");
  }
  const place = tcp(request);
  if (place && ports.includes(place.port)) return allow();
  return deny("other-port", "not a port of the settings", "this port cannot be reached from here");
}
