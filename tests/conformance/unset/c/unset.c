// What a policy in C leaves in the place of a verdict, or does instead of one: by the port that is asked for.
#include "verdict.h"

#include <stdlib.h>

void policy_describe(policy_description_t *description) {
  describe(description, "unset", "0.1.0", "gives no verdict, in many ways");
}

bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) { return true; }

static volatile int zero;
static int *volatile nowhere;
static int numbers[4];

static int deeper(volatile int *depth) {
  volatile int here[256];
  here[0] = *depth + 1;
  return deeper(here) + here[0];
}

static void allow_by_a_rule(policy_verdict_t *verdict) {
  policy_terms_t *terms = allow_with(verdict);
  terms->address_rules.ptr = calloc(1, sizeof *terms->address_rules.ptr);
  terms->address_rules.len = 1;
  terms->address_rules.ptr[0].cidr = text("10.0.0.0/8");
}

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  int port = request->target.tag == POLICY_ENDPOINT_TCP ? request->target.val.tcp.port : 0;
  switch (port) {
  case 10: return;
  case 11: memset(verdict, 0, sizeof *verdict); verdict->tag = POLICY_VERDICT_DENY; return;
  case 12: abort();
  case 13: exit(0);
  case 14: allow(verdict); verdict->tag = 255; return;
  case 15: verdict->tag = POLICY_VERDICT_REWRITE + 1; return;
  case 16:
    rewrite(verdict, "elsewhere.internal", 8443, "moved");
    verdict->val.rewrite.to.tag = POLICY_ENDPOINT_SOCKET + 1;
    return;
  case 17: allow_by_a_rule(verdict); return;
  case 20: if (*nowhere == 0) allow(verdict); return;
  case 21: if (port / zero == 0) allow(verdict); return;
  case 22: if (numbers[port] == 0) allow(verdict); return;
  case 23: if (deeper(&zero)) allow(verdict); return;
  case 24: if (0x7fffffff + port + zero > 0) allow(verdict); return;
  case 25: if (1 << (port + 10 + zero) == 0) allow(verdict); return;
  case 26: deny(verdict, NULL, "no code", NULL); return;
  default: allow(verdict);
  }
}
