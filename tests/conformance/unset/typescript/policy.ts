// Gives no verdict, in ways that the compiler lets pass: by the port that is asked for.
import { allow, deny, tcp } from "portreeve";
import type { Request, Verdict } from "portreeve";

export const description = { name: "unset", version: "0.1.0", summary: "gives no verdict, in many ways" };

export function decide(request: Request): Verdict {
  const verdicts: Record<number, Verdict> = { 1: allow() };
  switch (tcp(request)?.port) {
    case 12:
      throw new Error("x");
    case 13:
      return JSON.parse("null");
    case 14:
      return later() as unknown as Verdict;
    case 31:
      return deny("time", `${Date.now()}`);
    default:
      return verdicts[tcp(request)!.port]!;
  }
}

async function later(): Promise<Verdict> {
  return allow();
}
