// Which ports may be forwarded. bindings/policy.h has all types, bindings/verdict.h short forms.
#include "verdict.h"

void policy_describe(policy_description_t *description) {
  describe(description, "{{name}}", "0.1.0", "connections to port 22 and nothing else");
}

// Called once, before anything is decided. There are no settings here; if there were, `settings` would be a JSON document.
bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) {
  if (equals(*settings, "{}")) return true;
  return refuse_settings(problems, "", "this policy has no settings");
}

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  if (request->action != POLICY_ACTION_CONNECT) {
    deny(verdict, "only-connections", "not a connection", "only connections can be forwarded here");
  } else if (request->target.tag == POLICY_ENDPOINT_TCP && request->target.val.tcp.port == 22) {
    allow(verdict);
  } else {
    deny(verdict, "other-port", "not port 22", "this port cannot be reached from here");
  }
}
