// The types of portreeve:policy@0.2.0 as a policy in JavaScript or TypeScript sees them.
// Whole numbers of 64 bits are of type `number`: past 2^53 (Number.MAX_SAFE_INTEGER) they lose digits.

declare module "portreeve" {
  /** A value in an open list. */
  export type Value =
    | { tag: "text"; val: string }
    | { tag: "texts"; val: string[] }
    | { tag: "number"; val: number }
    | { tag: "flag"; val: boolean };

  /** A network peer as the gateway sees it; `ip` is the canonical text form. */
  export interface SocketAddress {
    ip: string;
    port: number;
  }

  /** An OpenSSH user certificate that the gateway has verified. Times are Unix seconds. */
  export interface Certificate {
    keyId: string;
    serial: number;
    /** SHA-256 fingerprint of the signing CA key, as `ssh-keygen -l` prints it. */
    issuer: string;
    principals: string[];
    validAfter: number;
    validBefore: number;
    criticalOptions: [string, string][];
    extensions: [string, string][];
  }

  /** How the user proved who they are. */
  export interface Credential {
    /** `publickey`, `certificate`, `password`, `keyboard-interactive`; more may be added. */
    method: string;
    /** All methods that succeeded, in their order; the last one is `method`. */
    methods: string[];
    /** SHA-256 fingerprint of the user's key, where a key was used. */
    fingerprint: string | null;
    certificate: Certificate | null;
  }

  /** The authenticated user. */
  export interface Principal {
    user: string;
    groups: string[];
    credential: Credential;
    /** Further facts about the user that the administrator configured. */
    claims: [string, Value][];
  }

  /** The SSH connection that carries the request. */
  export interface Connection {
    /** Unique for the life of the gateway; the audit log's `session`. */
    id: string;
    /** The client's address, after a trusted PROXY protocol header. */
    client: SocketAddress;
    /** The gateway's address that the client connected to. */
    server: SocketAddress;
    /** The client's SSH version string. */
    software: string;
    /** When the user was authenticated, Unix seconds. */
    since: number;
  }

  /** A name is lower case, without a trailing dot, in ASCII form; an address is in canonical text form. */
  export interface HostPort {
    host: string;
    port: number;
  }

  /** A socket is the absolute path of a Unix-domain socket. */
  export type Endpoint = { tag: "tcp"; val: HostPort } | { tag: "socket"; val: string };

  /** `connect` is -L, -D, -W and -J, `listen` is -R, `accept` a peer that connected to a granted listener. */
  export type Action = "connect" | "listen" | "accept";

  export interface Request {
    /** Unique; the audit log's `forward`. */
    id: string;
    /** The one clock of this decision, Unix milliseconds: `Date.now()` is this, too. Zones are in `calendar`. */
    now: number;
    action: Action;
    /** The endpoint in canonical form: decide on this one. */
    target: Endpoint;
    /** The endpoint exactly as the client sent it. */
    requested: Endpoint;
    /** The address, where the host of `target` is an address and not a name. */
    address: string | null;
    /** For `accept` the real peer. For `connect` what the client claims: never authorise on it. */
    originator: SocketAddress | null;
    principal: Principal;
    connection: Connection;
    /** True where the verdict will not be acted on (shadow, replay, tests). */
    dryRun: boolean;
    extra: [string, Value][];
  }

  /** Judged on every resolved address before it is dialled; the first match wins, no match permits. */
  export interface AddressRule {
    cidr: string;
    effect: "permit" | "refuse";
  }

  /** Terms on which a request is allowed, enforced by the gateway. Null means: the configured default. */
  export interface Terms {
    maxSeconds: number | null;
    idleSeconds: number | null;
    maxBytes: number | null;
    bytesPerSecond: number | null;
    addressRules: AddressRule[];
    recheckSeconds: number | null;
    reuseSeconds: number | null;
    tags: [string, string][];
    obligations: [string, Value][];
    hints: [string, Value][];
  }

  export interface Denial {
    /** A stable name for the rule or cause, for the audit log and the metrics. */
    code: string;
    /** For the audit log. */
    reason: string;
    /** Shown to the user in the SSH refusal; null: a general sentence. */
    tellUser: string | null;
  }

  export interface Redirect {
    to: Endpoint;
    reason: string;
    terms: Terms | null;
  }

  export type Verdict =
    | { tag: "allow" }
    | { tag: "allow-with"; val: Terms }
    | { tag: "deny"; val: Denial }
    | { tag: "rewrite"; val: Redirect };

  /** A fault in the settings: where (a JSON pointer) and what. */
  export interface Problem {
    at: string;
    message: string;
  }

  /** What `export const description` of a policy holds. */
  export interface Description {
    name: string;
    version: string;
    summary: string;
    /** A JSON Schema of the settings, where the policy has settings. */
    settingsSchema?: object;
  }

  /** The end of something that was allowed, for `onEnded` (`world = "observing-policy"` in policy.toml). */
  export interface Ended {
    /** The id of the request. */
    id: string;
    /** `closed`, `idle`, `expired`, `byte-limit`, `revoked`, `stalled`, `killed`, `failed`; more may be added. */
    cause: string;
    milliseconds: number;
    bytesUp: number;
    bytesDown: number;
    dialled: SocketAddress | null;
  }

  export type Plain = string | string[] | number | boolean;

  /** Terms as `allow` and `rewrite` take them: what is not given is the gateway's default. */
  export interface On {
    maxSeconds?: number;
    idleSeconds?: number;
    maxBytes?: number;
    bytesPerSecond?: number;
    addressRules?: AddressRule[];
    recheckSeconds?: number;
    reuseSeconds?: number;
    tags?: Record<string, string>;
    obligations?: Record<string, Plain>;
    hints?: Record<string, Plain>;
  }

  /** Allows, on terms if any are given: `allow({ maxSeconds: 60, tags: { rule: "canary" } })`. */
  export function allow(on?: On): Verdict;
  /** Refuses. The code is a stable name of the rule, the reason is for the audit log; the user sees `tellUser`. */
  export function deny(code: string, reason: string, tellUser?: string | null): Verdict;
  /** Connects or listens elsewhere (`rewrite = true` in policy.toml and in the gateway's configuration). */
  export function rewrite(host: string, port: number, reason: string, on?: On): Verdict;
  /** Host and port of the target, or null where it is a Unix socket. */
  export function tcp(request: Request): HostPort | null;
  /** `request.principal.claims` or `request.extra` as an object. */
  export function facts(pairs: [string, Value][]): Record<string, Plain>;
  export function terms(on: On): Terms;
  /** Lines for the operator; always granted. */
  export const log: { write(level: "debug" | "info" | "warn" | "error", message: string): void };
}

declare module "portreeve:policy/log@0.2.0" {
  const log: { write(level: "debug" | "info" | "warn" | "error", message: string): void };
  export default log;
}

/** Local time, from the gateway's time-zone database; needs no grant. */
declare module "portreeve:policy/calendar@0.2.0" {
  export interface LocalTime {
    year: number;
    /** 1 to 12. */
    month: number;
    /** 1 to 31. */
    day: number;
    /** 0 to 23. */
    hour: number;
    minute: number;
    second: number;
    /** 1 (Monday) to 7 (Sunday). */
    weekday: number;
    /** Seconds east of UTC at that moment. */
    utcOffset: number;
  }
  /** The `payload` of the `Error` that `local` throws. */
  export type CalendarError = "unknown-zone" | "out-of-range" | "over-budget";
  const calendar: {
    /** What clocks show in a zone, such as `Europe/Berlin`, so many milliseconds after 1970 began in UTC: `request.now`. */
    local(unixMs: number, zone: string): LocalTime;
  };
  export default calendar;
}

/** Name resolution by the gateway (grant `names`). */
declare module "portreeve:policy/names@0.2.0" {
  /** The `payload` of the `Error` that `resolve` throws. */
  export type LookupError =
    | { tag: "not-granted" }
    | { tag: "no-such-name" }
    | { tag: "timed-out" }
    | { tag: "over-budget" }
    | { tag: "failed"; val: string };
  const names: {
    /** All addresses of a name, in the order in which they would be dialled. Throws an `Error` whose `payload` is a `LookupError`. */
    resolve(host: string): string[];
  };
  export default names;
}

/** Small shared state that outlives an instance and a swap (grant `state`). */
declare module "portreeve:policy/state@0.2.0" {
  /** The `payload` of the `Error` that all three throw. */
  export type StateError =
    | { tag: "not-granted" }
    | { tag: "over-budget" }
    | { tag: "too-large" }
    | { tag: "unavailable" };
  const state: {
    get(key: string): Uint8Array | null;
    put(key: string, value: Uint8Array, ttlSeconds: number): void;
    /** Adds to a counter that returns to zero when its window ends; answers the new value. */
    add(key: string, delta: number, windowSeconds: number): number;
  };
  export default state;
}

/** Facts on demand (grant `view`). */
declare module "portreeve:policy/view@0.2.0" {
  import type { Value } from "portreeve";
  const view: {
    /** Open tunnels and listeners of a user on this gateway. */
    openForwards(user: string): number;
    /** A fact that the administrator configured. */
    fact(name: string): Value | null;
  };
  export default view;
}
