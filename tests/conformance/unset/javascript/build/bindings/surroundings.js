// What JavaScript expects around it and a policy has not: here it leads to the gateway, or throws an error that says so. Left
// alone, these calls would end the instance without a word.
import { log } from "portreeve";

let now = null;

// The one clock of a decision is that of its request.
export function begin(milliseconds) {
  now = Number(milliseconds);
}

function clock() {
  if (now === null) throw new Error("a policy has no clock before it decides: the time of a decision is request.now");
  return now;
}

const RealDate = globalThis.Date;

globalThis.Date = class Date extends RealDate {
  constructor(...given) {
    if (given.length) super(...given);
    else super(clock());
  }

  static now() {
    return clock();
  }
};

Object.defineProperty(globalThis, "performance", { value: { now: clock }, configurable: true, writable: true });

function line(level) {
  return (...given) => log.write(level, given.map(shown).join(" "));
}

globalThis.console = {
  debug: line("debug"),
  log: line("info"),
  info: line("info"),
  warn: line("warn"),
  error: line("error"),
  trace: line("debug"),
  assert: (holds, ...given) => holds || log.write("error", ["assertion failed:", ...given.map(shown)].join(" ")),
};

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return String(value);
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}
