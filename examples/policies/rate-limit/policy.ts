// So many new forwards for a user in so many seconds. The counter is the gateway's, and outlives a swap of this policy.
import state from "portreeve:policy/state@0.2.0";
import { allow, deny } from "portreeve";
import type { Problem, Request, Verdict } from "portreeve";

export const description = {
  name: "rate-limit",
  version: "0.1.0",
  summary: "so many new forwards for a user in so many seconds",
  settingsSchema: {
    type: "object",
    properties: { most: { type: "integer", minimum: 1 }, seconds: { type: "integer", minimum: 1 } },
    additionalProperties: false,
  },
};

let most = 60;
let seconds = 60;

export function configure(settings: { most?: number; seconds?: number }): Problem[] {
  most = settings.most ?? most;
  seconds = settings.seconds ?? seconds;
  const wrong = (at: string, value: number) =>
    Number.isInteger(value) && value > 0 ? [] : [{ at, message: "must be a whole number from 1" }];
  return [...wrong("/most", most), ...wrong("/seconds", seconds)];
}

export function decide(request: Request): Verdict {
  // Who connects to a listener is not the user, who cannot help it.
  if (request.action === "accept") return allow();
  // What is open is asked about again after a swap, and has been counted.
  if (request.extra.some(([name]) => name === "again")) return allow();
  const count = state.add(`forwards:${request.principal.user}`, 1, seconds);
  if (count <= most) return allow();
  return deny("too-fast", `request ${count} in ${seconds} s`, `too many new forwards: ${most} in ${seconds} seconds`);
}
