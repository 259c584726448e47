// Who asks for what nobody has any business with is connected to a honeypot, and does not notice.
#include "verdict.h"
#include <algorithm>
#include <array>
#include <string>

using namespace std::string_view_literals;

constexpr std::array baits = { "backup.internal"sv, "vault.internal"sv, "hr-files.internal"sv };
constexpr std::array ports = { uint16_t{23}, uint16_t{445}, uint16_t{3389} };

void policy_describe(policy_description_t *description) {
  describe(description, "honeypot", "0.1.0", "baits and ports of intruders lead to a honeypot");
}

bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) {
  if (view(*settings) == "{}") return true;
  return refuse_settings(problems, "", "the baits are in honeypot.cpp: this policy has no settings");
}

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  if (request->action != POLICY_ACTION_CONNECT || request->target.tag != POLICY_ENDPOINT_TCP) return allow(verdict);
  auto &place = request->target.val.tcp;
  bool bait = std::ranges::find(baits, view(place.host)) != baits.end();
  if (!bait && std::ranges::find(ports, place.port) == ports.end()) return allow(verdict);

  std::string line = "honeypot: " + std::string(view(request->principal.user)) + " asked for " + std::string(view(place.host));
  log_text(LOG_LEVEL_WARN, line.c_str());
  rewrite(verdict, "honeypot.internal", 2222, bait ? "a bait was asked for" : "a port of intruders was asked for");
  policy_terms_t terms = {};
  terms.max_seconds = { true, 600 };
  terms.bytes_per_second = { true, 16384 };
  verdict->val.rewrite.terms = { true, terms };
}
