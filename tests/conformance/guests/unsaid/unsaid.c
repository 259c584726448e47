// The guest of ../c, which at some ports answers what is no verdict. The bindings must trap there: what they hand over
// otherwise may read as an allow.
#define policy_decide decide_rightly
#include "../c/conformance.c"
#undef policy_decide

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  switch (request->target.tag == POLICY_ENDPOINT_TCP ? request->target.val.tcp.port : 0) {
  case 11: return;
  case 12: verdict->tag = POLICY_VERDICT_REWRITE + 1; return;
  case 13: allow(verdict); verdict->tag = 255; return;
  case 14:
    rewrite(verdict, "elsewhere.internal", 8443, "moved");
    verdict->val.rewrite.to.tag = POLICY_ENDPOINT_SOCKET + 1;
    return;
  default: decide_rightly(request, verdict);
  }
}
