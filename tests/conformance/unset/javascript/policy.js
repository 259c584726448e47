// Gives no verdict, in many ways: by the port that is asked for.
import { allow, deny, tcp } from "portreeve";

export const description = { name: "unset", version: "0.1.0", summary: "gives no verdict, in many ways" };

export function decide(request) {
  switch (tcp(request).port) {
    case 1:
      return allow();
    case 10:
      return;
    case 11:
      return {};
    case 12:
      throw new Error("x");
    case 13:
      try {
        throw new Error("x");
      } catch {
        return null;
      }
    case 14:
      return later();
    case 15:
      return true;
    case 16:
      return "allow";
    case 17:
      return allow({ addressRules: [{ cidr: "10.0.0.0/8" }] });
    case 18:
      return { tag: "deny" };
    case 19:
      return { tag: "deny", val: { code: "code" } };
    case 20:
      return { tag: "rewrite", val: { reason: "nowhere" } };
    case 21:
      return { tag: "allow-with" };
    case 22:
      return allow({ maxSeconds: -1 });
    case 23:
      return { tag: "permit" };
    case 24:
      return decide(request);
    case 25:
      return { tag: "allow-with", val: { maxSeconds: 60 } };
    case 26:
      return [allow()];
    case 30:
      console.log("a line", { of: "words" });
      return allow();
    case 31:
      return deny("time", `${Date.now()} ${new Date().toISOString()} ${new Date(0).toISOString()}`);
    case 32:
      throw "words";
    case 33:
      console.error("an error");
      return allow();
  }
}

async function later() {
  return allow();
}
