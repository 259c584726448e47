// Each group has ranges of ports that its members may connect to.
#include "verdict.h"
#include <stdio.h>

static const struct {
  const char *group;
  uint16_t first, last;
} ranges[] = {
  { "dba", 3306, 3306 },
  { "dba", 5432, 5439 },
  { "web", 80, 80 },
  { "web", 8000, 8999 },
  { "ops", 1, 65535 },
};

void policy_describe(policy_description_t *description) {
  describe(description, "port-ranges", "0.1.0", "connections to the ports of one's groups");
}

bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) {
  if (equals(*settings, "{}")) return true;
  return refuse_settings(problems, "", "the ranges are in ranges.c: this policy has no settings");
}

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  if (request->action != POLICY_ACTION_CONNECT || request->target.tag != POLICY_ENDPOINT_TCP) {
    deny(verdict, "not-a-port", "not a connection to a port", NULL);
    return;
  }
  uint16_t port = request->target.val.tcp.port;
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    if (port < ranges[i].first || port > ranges[i].last || !contains(request->principal.groups, ranges[i].group)) continue;
    set_tags(allow_with(verdict), (const char *[]){ "group", ranges[i].group }, 1);
    return;
  }
  char words[64];
  snprintf(words, sizeof words, "none of your groups may reach port %u", port);
  deny(verdict, "no-group", "no group of the user has the port", words);
}
