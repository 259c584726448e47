// @ts-check
// Some users, always the same ones, reach the canary of a service instead of the service.
import { allow, rewrite, tcp } from "portreeve";

export const description = { name: "canary", version: "0.1.0", summary: "some users reach the canary of a service" };

/** @type {Record<string, string>} */
let hosts = {};
let percent = 0;
/** @type {string[]} */
let groups = [];

/** @param {any} settings */
export function configure(settings) {
  ({ hosts = {}, percent = 0, groups = [] } = settings);
  const problems = [];
  if (!(percent >= 0 && percent <= 100)) problems.push({ at: "/percent", message: "must be from 0 to 100" });
  for (const [host, to] of Object.entries(hosts)) {
    if (typeof to !== "string") problems.push({ at: `/hosts/${host}`, message: "must be a host" });
  }
  return problems;
}

/**
 * @param {import("portreeve").Request} request
 * @returns {import("portreeve").Verdict}
 */
export function decide(request) {
  const place = tcp(request);
  const to = place && request.action === "connect" ? hosts[place.host] : undefined;
  if (!place || !to) return allow();
  const { user, groups: theirs } = request.principal;
  const early = theirs.some((group) => groups.includes(group));
  if (early || share(user + place.host) < percent) {
    return rewrite(to, place.port, early ? "an early bird" : `one of ${percent} in a hundred`, { tags: { canary: to } });
  }
  return allow();
}

/**
 * A number from 0 to 99 that is always the same for the same words (FNV-1a).
 * @param {string} words
 */
function share(words) {
  let hash = 0x811c9dc5;
  for (const letter of words) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hash % 100;
}
