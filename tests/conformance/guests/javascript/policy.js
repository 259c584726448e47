// The conformance guest in JavaScript. What it answers: tests/conformance/README.md.
import calendar from "portreeve:policy/calendar@0.2.0";
import names from "portreeve:policy/names@0.2.0";
import state from "portreeve:policy/state@0.2.0";
import view from "portreeve:policy/view@0.2.0";
import { allow, deny, log, rewrite, terms } from "portreeve";
import { digest, option, renderPeer, renderRequest, renderTexts, renderValue, quote } from "./render.js";

export const description = {
  name: "conformance",
  version: "0.1.0",
  summary: "answers what the suite expects: ключ 日本語 🚪",
  settingsSchema: { type: "object" },
};

let greeting = "-";

export function configure(settings) {
  if (settings.refuse) {
    return [{ at: "/refuse", message: "refused" }, { at: "/ключ", message: "日本語 🚪" }];
  }
  greeting = settings.greeting ?? greeting;
  return [];
}

export function decide(request) {
  const { word, number } = label(request.target);
  switch (word) {
    case "allow":
      return allow();
    case "nothing":
      return { tag: "allow-with", val: terms({}) };
    case "terms":
      return allow(fullTerms);
    case "rules":
      return allow({ addressRules: upTo(number).map(rule) });
    case "tags":
      return allow({ tags: Object.fromEntries(upTo(number).map((index) => [`tag-${index}`, `${index}`])) });
    case "badcidr":
      return allow({ addressRules: [{ cidr: "10.0.0.0/33", effect: "permit" }] });
    case "obligation":
      return allow({ obligations: { launch: 1 } });
    case "deny":
      return deny("conformance", "denied");
    case "tell":
      return deny("conformance", "told", "ключ 日本語 🚪");
    case "empty":
      return deny("conformance", "", "");
    case "badcode":
      return deny("not a word", "");
    case "words":
      return deny("words", "x".repeat(number));
    case "rewrite":
      return rewrite("elsewhere.internal", 8443, "moved");
    case "rewriteterms":
      return rewrite("elsewhere.internal", 8443, "moved", fullTerms);
    case "rewritesocket":
      return { tag: "rewrite", val: { to: { tag: "socket", val: "/run/elsewhere.sock" }, reason: "moved", terms: null } };
    case "panic":
      throw new Error("asked to");
    case "spin":
      for (;;)
        ;
    case "settings":
      return deny("settings", greeting);
    case "log":
      log.write("debug", "debug line");
      log.write("info", "info line");
      log.write("warn", "warn line");
      log.write("error", "error line: ключ 日本語 🚪");
      return allow();
    case "lines":
      for (const index of upTo(number))
        log.write("info", `line ${index + 1}`);
      return allow();
    case "names":
      return deny("names", askNames(request.target, number));
    case "state":
      return deny("state", askState(number));
    case "large":
      return deny("large", `put=${put("big", new Uint8Array(65537))}`);
    case "calendar":
      return deny("calendar", askCalendar(request.now, number));
    case "methods":
      return deny("methods", renderTexts(request.principal.credential.methods));
    case "view":
      return deny("view", askView(request.principal.user));
    case "digest":
      return deny("digest", digest(renderRequest(request)));
  }
  return deny("echo", renderRequest(request));
}

export function onEnded(event) {
  const { id, cause, milliseconds, bytesUp, bytesDown, dialled } = event;
  const counts = `milliseconds=${milliseconds} bytes-up=${bytesUp} bytes-down=${bytesDown}`;
  log.write("info", `ended id=${quote(id)} cause=${quote(cause)} ${counts} dialled=${option(dialled, renderPeer)}`);
}

function label(target) {
  const name = target.tag === "tcp" ? target.val.host : target.val.slice(target.val.lastIndexOf("/") + 1);
  const [word = ""] = name.split(".", 1);
  const numbered = /^(.*)-([0-9]+)$/.exec(word);
  return numbered ? { word: numbered[1], number: Number(numbered[2]) } : { word, number: 0 };
}

function upTo(count) {
  return Array.from({ length: count }, (_, index) => index);
}

const fullTerms = {
  maxSeconds: 60,
  idleSeconds: 30,
  maxBytes: Number.MAX_SAFE_INTEGER,
  bytesPerSecond: 65536,
  addressRules: [{ cidr: "10.0.0.0/8", effect: "permit" }, { cidr: "::/0", effect: "refuse" }],
  recheckSeconds: 15,
  reuseSeconds: 5,
  tags: { rule: "terms", ключ: "日本語 🚪" },
  obligations: { "replace-socket": true },
  hints: { text: "words", texts: ["one", "two"], number: -7, flag: false },
};

function rule(index) {
  const cidr = `10.${Math.floor(index / 256)}.${index % 256}.0/24`;
  return { cidr, effect: index % 2 ? "refuse" : "permit" };
}

function askNames(target, number) {
  if (number)
    return upTo(number).map((index) => lookup(`n${index + 1}.internal`)).at(-1) ?? "";
  return target.tag === "tcp" ? lookup(target.val.host.slice(target.val.host.indexOf(".") + 1)) : "";
}

function lookup(host) {
  return attempted(() => renderTexts(names.resolve(host)));
}

function askState(number) {
  if (number)
    return upTo(number).map(() => added("n", 1)).at(-1) ?? "";
  const text = got("text");
  const stored = put("key", new Uint8Array([0, 1, 255]));
  return `text=${text} put=${stored} key=${got("key")} add=${added("counter", 2)} add=${added("counter", -5)}`;
}

function got(key) {
  return attempted(() => option(state.get(key), (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")));
}

function put(key, value) {
  return attempted(() => {
    state.put(key, value, 60);
    return "ok";
  });
}

function added(key, delta) {
  return attempted(() => String(state.add(key, delta, 60)));
}
/** Host interfaces throw an `Error` with the error of their result as its payload. */

function attempted(ask) {
  try {
    return ask();
  }
  catch (error) {
    const { tag, val } = error.payload;
    return `err(${tag}${val === undefined ? "" : ` ${quote(val)}`})`;
  }
}

function askView(user) {
  const facts = ["text", "texts", "number", "flag", "absent"].map((name) => ` ${name}=${option(view.fact(name), renderValue)}`);
  return `open=${view.openForwards(user)}${facts.join("")}`;
}

function askCalendar(now, number) {
  try {
    const at = calendar.local(now, number ? "Mars/Olympus" : "Asia/Kathmandu");
    return `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}:${at.second} ${at.weekday} ${at.utcOffset}`;
  } catch (error) {
    return `err(${(error).payload})`;
  }
}
