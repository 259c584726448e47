// As in C, and what only C++ can do: the sources of ../c, and a function that returns nothing.
#include "verdict.h"

#include <cstdlib>
#include <memory>
#include <optional>

static volatile int zero;

// An end of a function that should return something.
static bool forgotten(int port) {
  if (port == 1 && zero == 0) return true;
}

void policy_describe(policy_description_t *description) {
  describe(description, "unset", "0.1.0", "gives no verdict, in many ways");
}

bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) { return true; }

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  int port = request->target.tag == POLICY_ENDPOINT_TCP ? request->target.val.tcp.port : 0;
  std::unique_ptr<int> nowhere;
  switch (port) {
  case 1: if (forgotten(port)) allow(verdict); return;
  case 10: return;
  case 11: *verdict = {}; verdict->tag = POLICY_VERDICT_DENY; return;
  case 12: std::abort();
  case 13: std::exit(0);
  case 20: if (*nowhere == zero) allow(verdict); return;
  case 21: if (port / zero == 0) allow(verdict); return;
  case 27: if (forgotten(port)) allow(verdict); else allow(verdict); return;
  }
}
