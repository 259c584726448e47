// The exports of the component: they call the functions of policy.js.
//
// An exception in `decide` is a line in the log and a deny, one in `configure` a problem of the settings. Uncaught it would
// end the instance without a word.
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
    try {
      return policy.decide(request);
    } catch (error) {
      log.write("error", `the policy threw ${words(error)}`);
      return deny("policy-error", `the policy threw ${words(error)}`);
    }
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
    return policy.configure(settings);
  } catch (error) {
    return [{ at: "", message: words(error) }];
  }
}

// An error of a host interface has what WIT calls the error of a result as its payload.
function words(error) {
  if (!(error instanceof Error)) return JSON.stringify(error);
  if (error.payload !== undefined) return `Error: ${JSON.stringify(error.payload)}`;
  const place = error.stack?.split("\n", 1)[0].trim();
  return place ? `${error} ${place}` : String(error);
}
