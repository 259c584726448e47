// The conformance guest in C++. What it answers: tests/conformance/README.md.
#include "verdict.h"
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace {

using std::string;
using std::to_string;

string render(policy_string_t text) { return "\"" + string(view(text)) + "\""; }

// The items of a list of the bindings, one after the other.
template <typename List, typename Each> string listed(List list, Each each) {
  string out = "[";
  for (size_t i = 0; i < list.len; i++) out += (i ? "," : "") + each(list.ptr[i]);
  return out + "]";
}

string render(policy_list_string_t texts) {
  return listed(texts, [](policy_string_t text) { return render(text); });
}

string render(policy_socket_address_t peer) { return "(" + render(peer.ip) + "," + to_string(peer.port) + ")"; }

string render(policy_certificate_t certificate);

template <typename Option> string optional(Option given) { return given.is_some ? render(given.val) : "-"; }

string render(policy_endpoint_t endpoint) {
  if (endpoint.tag == POLICY_ENDPOINT_SOCKET) return "socket(" + render(endpoint.val.socket) + ")";
  return "tcp(" + render(endpoint.val.tcp.host) + "," + to_string(endpoint.val.tcp.port) + ")";
}

string flag(bool value) { return value ? "true" : "false"; }

string render(policy_value_t value) {
  switch (value.tag) {
    case POLICY_VALUE_TEXT: return "text(" + render(value.val.text) + ")";
    case POLICY_VALUE_TEXTS: return "texts(" + render(value.val.texts) + ")";
    case POLICY_VALUE_NUMBER: return "number(" + to_string(value.val.number) + ")";
    default: return "flag(" + flag(value.val.flag) + ")";
  }
}

template <typename List> string pairs(List list) {
  return listed(list, [](auto pair) { return render(pair.f0) + "=" + render(pair.f1); });
}

string render(policy_certificate_t certificate) {
  return "(key-id=" + render(certificate.key_id) + " serial=" + to_string(certificate.serial) +
    " issuer=" + render(certificate.issuer) + " principals=" + render(certificate.principals) +
    " valid-after=" + to_string(certificate.valid_after) + " valid-before=" + to_string(certificate.valid_before) +
    " critical-options=" + pairs(certificate.critical_options) + " extensions=" + pairs(certificate.extensions) + ")";
}

string render(policy_request_t &request) {
  const char *actions[] = { "connect", "listen", "accept" };
  auto &principal = request.principal;
  auto &connection = request.connection;
  return "id=" + render(request.id) + " now=" + to_string(request.now) + " action=" + actions[request.action] +
    " target=" + render(request.target) + " requested=" + render(request.requested) +
    " address=" + optional(request.address) + " originator=" + optional(request.originator) +
    " user=" + render(principal.user) + " groups=" + render(principal.groups) +
    " method=" + render(principal.credential.method) + " fingerprint=" + optional(principal.credential.fingerprint) +
    " certificate=" + optional(principal.credential.certificate) + " claims=" + pairs(principal.claims) +
    " session=" + render(connection.id) + " client=" + render(connection.client) +
    " server=" + render(connection.server) + " software=" + render(connection.software) +
    " since=" + to_string(connection.since) + " dry-run=" + flag(request.dry_run) + " extra=" + pairs(request.extra);
}

string digest(const string &text) {
  uint32_t hash = 0x811c9dc5;
  for (unsigned char byte : text) hash = (hash ^ byte) * 0x01000193u;
  char words[64];
  snprintf(words, sizeof words, "%zu bytes, fnv1a %08x", text.size(), (unsigned)hash);
  return words;
}

// What is returned is freed: lists must come from malloc.
template <typename List, typename Item> void fill(List &list, const std::vector<Item> &items) {
  list.len = items.size();
  list.ptr = static_cast<decltype(list.ptr)>(calloc(items.size(), sizeof(Item)));
  for (size_t i = 0; i < items.size(); i++) list.ptr[i] = items[i];
}

policy_tuple2_string_value_t number_of(const char *name, int64_t number) {
  policy_tuple2_string_value_t pair = { text(name), {} };
  pair.f1.tag = POLICY_VALUE_NUMBER;
  pair.f1.val.number = number;
  return pair;
}

policy_tuple2_string_value_t flag_of(const char *name, bool value) {
  policy_tuple2_string_value_t pair = { text(name), {} };
  pair.f1.tag = POLICY_VALUE_FLAG;
  pair.f1.val.flag = value;
  return pair;
}

void full_terms(policy_terms_t &terms) {
  terms.max_seconds = { true, 60 };
  terms.idle_seconds = { true, 30 };
  terms.max_bytes = { true, 9007199254740991 };
  terms.bytes_per_second = { true, 65536 };
  terms.recheck_seconds = { true, 15 };
  terms.reuse_seconds = { true, 5 };
  fill(terms.address_rules, std::vector<policy_address_rule_t>{
    { text("10.0.0.0/8"), POLICY_EFFECT_PERMIT }, { text("::/0"), POLICY_EFFECT_REFUSE } });
  fill(terms.tags, std::vector<policy_tuple2_string_string_t>{
    { text("rule"), text("terms") }, { text("ключ"), text("日本語 🚪") } });
  fill(terms.obligations, std::vector{ flag_of("replace-socket", true) });
  policy_tuple2_string_value_t words = { text("text"), {} }, list = { text("texts"), {} };
  words.f1.tag = POLICY_VALUE_TEXT;
  words.f1.val.text = text("words");
  list.f1.tag = POLICY_VALUE_TEXTS;
  fill(list.f1.val.texts, std::vector{ text("one"), text("two") });
  fill(terms.hints, std::vector{ words, list, number_of("number", -7), flag_of("flag", false) });
}

void rules(policy_terms_t &terms, size_t count) {
  std::vector<policy_address_rule_t> made;
  for (size_t i = 0; i < count; i++) {
    string cidr = "10." + to_string(i / 256) + "." + to_string(i % 256) + ".0/24";
    made.push_back({ text(cidr), uint8_t(i % 2 ? POLICY_EFFECT_REFUSE : POLICY_EFFECT_PERMIT) });
  }
  fill(terms.address_rules, made);
}

void tags(policy_terms_t &terms, size_t count) {
  std::vector<policy_tuple2_string_string_t> made;
  for (size_t i = 0; i < count; i++) made.push_back({ text("tag-" + to_string(i)), text(to_string(i)) });
  fill(terms.tags, made);
}

void deny_with(policy_verdict_t *verdict, const char *code, const string &reason) {
  deny(verdict, code, "", nullptr);
  verdict->val.deny.reason = text(reason);
}

policy_string_t lent(const string &words) { return { (uint8_t *)words.data(), words.size() }; }

string lookup(const string &host) {
  const char *errors[] = { "not-granted", "no-such-name", "timed-out", "over-budget" };
  policy_string_t name = lent(host);
  policy_list_string_t addresses;
  names_lookup_error_t error;
  if (names_resolve(&name, &addresses, &error)) return render(addresses);
  if (error.tag == NAMES_LOOKUP_ERROR_FAILED) return "err(failed " + render(error.val.failed) + ")";
  return "err(" + string(errors[error.tag]) + ")";
}

string failed(state_state_error_t error) {
  const char *errors[] = { "not-granted", "over-budget", "too-large", "unavailable" };
  return "err(" + string(errors[error.tag]) + ")";
}

string got(const string &key) {
  policy_string_t name = lent(key);
  policy_option_list_u8_t bytes;
  state_state_error_t error;
  if (!state_get(&name, &bytes, &error)) return failed(error);
  if (!bytes.is_some) return "-";
  string out;
  for (size_t i = 0; i < bytes.val.len; i++) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", bytes.val.ptr[i]);
    out += digits;
  }
  return out;
}

string put(const string &key, std::vector<uint8_t> bytes) {
  policy_string_t name = lent(key);
  policy_list_u8_t value = { bytes.data(), bytes.size() };
  state_state_error_t error;
  return state_put(&name, &value, 60, &error) ? "ok" : failed(error);
}

string added(const string &key, int64_t delta) {
  policy_string_t name = lent(key);
  int64_t value;
  state_state_error_t error;
  return state_add(&name, delta, 60, &value, &error) ? to_string(value) : failed(error);
}

string ask_names(policy_endpoint_t target, size_t number) {
  string answer;
  for (size_t i = 1; i <= number; i++) answer = lookup("n" + to_string(i) + ".internal");
  if (number) return answer;
  string host(view(target.val.tcp.host));
  return lookup(host.substr(host.find('.') + 1));
}

string ask_state(size_t number) {
  string answer;
  for (size_t i = 0; i < number; i++) answer = added("n", 1);
  if (number) return answer;
  answer = "text=" + got("text");
  answer += " put=" + put("key", { 0, 1, 255 });
  answer += " key=" + got("key");
  answer += " add=" + added("counter", 2);
  return answer + " add=" + added("counter", -5);
}

string ask_view(policy_string_t user) {
  string out = "open=" + to_string(view_open_forwards(&user));
  for (string name : { "text", "texts", "number", "flag", "absent" }) {
    policy_string_t asked = lent(name);
    view_value_t value;
    out += " " + name + "=" + (view_fact(&asked, &value) ? render(value) : "-");
  }
  return out;
}

string ask_calendar(uint64_t now, size_t number) {
  policy_string_t zone = lent(number ? "Mars/Olympus" : "Asia/Kathmandu");
  calendar_local_time_t at;
  calendar_calendar_error_t error;
  if (!calendar_local(now, &zone, &at, &error)) {
    return std::array<string, 3>{ "err(unknown-zone)", "err(out-of-range)", "err(over-budget)" }[error];
  }
  string date = to_string(at.year) + "-" + to_string(at.month) + "-" + to_string(at.day);
  string time = to_string(at.hour) + ":" + to_string(at.minute) + ":" + to_string(at.second);
  return date + " " + time + " " + to_string(at.weekday) + " " + to_string(at.utc_offset);
}

string greeting = "-";

// The first label of the host, or of the name of the socket; a hyphen and a number at its end are taken off.
string read_label(policy_endpoint_t target, size_t &number) {
  string name(view(target.tag == POLICY_ENDPOINT_TCP ? target.val.tcp.host : target.val.socket));
  if (target.tag == POLICY_ENDPOINT_SOCKET) name = name.substr(name.rfind('/') + 1);
  string word = name.substr(0, name.find('.'));
  size_t hyphen = word.rfind('-');
  if (hyphen == string::npos || hyphen + 1 == word.size()) return word;
  if (word.find_first_not_of("0123456789", hyphen + 1) != string::npos) return word;
  number = strtoul(word.c_str() + hyphen + 1, nullptr, 10);
  return word.substr(0, hyphen);
}

}  // namespace

void policy_describe(policy_description_t *description) {
  describe(description, "conformance", "0.1.0", "answers what the suite expects: ключ 日本語 🚪");
  description->settings_schema = { true, text("{\"type\":\"object\"}") };
}

bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) {
  string document(view(*settings));
  if (document.find("\"refuse\"") != string::npos) {
    fill(*problems, std::vector<exports_lifecycle_problem_t>{
      { text("/refuse"), text("refused") }, { text("/ключ"), text("日本語 🚪") } });
    return false;
  }
  const string key = "\"greeting\":\"";
  size_t at = document.find(key);
  if (at != string::npos) {
    at += key.size();
    greeting = document.substr(at, document.find('"', at) - at);
  }
  return true;
}

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  size_t number = 0;
  string word = read_label(request->target, number);
  auto terms = [&]() -> policy_terms_t & { return *allow_with(verdict); };
  auto redirect = [&] { rewrite(verdict, "elsewhere.internal", 8443, "moved"); };
  const std::map<string, std::function<void()>> answers = {
    { "allow", [&] { allow(verdict); } },
    { "nothing", [&] { terms(); } },
    { "terms", [&] { full_terms(terms()); } },
    { "largest", [&] {
      policy_terms_t &most = terms();
      most.max_seconds = { true, UINT32_MAX };
      most.max_bytes = { true, UINT64_MAX };
      fill(most.hints, std::vector{ number_of("least", INT64_MIN), number_of("most", INT64_MAX) });
    } },
    { "rules", [&] { rules(terms(), number); } },
    { "tags", [&] { tags(terms(), number); } },
    { "badcidr", [&] {
      fill(terms().address_rules, std::vector<policy_address_rule_t>{ { text("10.0.0.0/33"), POLICY_EFFECT_PERMIT } });
    } },
    { "obligation", [&] { fill(terms().obligations, std::vector{ number_of("launch", 1) }); } },
    { "deny", [&] { deny(verdict, "conformance", "denied", nullptr); } },
    { "tell", [&] { deny(verdict, "conformance", "told", "ключ 日本語 🚪"); } },
    { "empty", [&] { deny(verdict, "conformance", "", ""); } },
    { "badcode", [&] { deny(verdict, "not a word", "", nullptr); } },
    { "words", [&] { deny_with(verdict, "words", string(number, 'x')); } },
    { "rewrite", redirect },
    { "rewriteterms", [&] {
      redirect();
      verdict->val.rewrite.terms.is_some = true;
      full_terms(verdict->val.rewrite.terms.val);
    } },
    { "rewritesocket", [&] {
      redirect();
      verdict->val.rewrite.to.tag = POLICY_ENDPOINT_SOCKET;
      verdict->val.rewrite.to.val.socket = text("/run/elsewhere.sock");
    } },
    { "panic", [] { abort(); } },
    { "spin", [] { for (volatile bool forever = true; forever;) continue; } },
    { "settings", [&] { deny_with(verdict, "settings", greeting); } },
    { "log", [&] {
      log_text(LOG_LEVEL_DEBUG, "debug line");
      log_text(LOG_LEVEL_INFO, "info line");
      log_text(LOG_LEVEL_WARN, "warn line");
      log_text(LOG_LEVEL_ERROR, "error line: ключ 日本語 🚪");
      allow(verdict);
    } },
    { "lines", [&] {
      for (size_t i = 1; i <= number; i++) log_text(LOG_LEVEL_INFO, ("line " + to_string(i)).c_str());
      allow(verdict);
    } },
    { "names", [&] { deny_with(verdict, "names", ask_names(request->target, number)); } },
    { "state", [&] { deny_with(verdict, "state", ask_state(number)); } },
    { "large", [&] { deny_with(verdict, "large", "put=" + put("big", std::vector<uint8_t>(65537))); } },
    { "calendar", [&] { deny_with(verdict, "calendar", ask_calendar(request->now, number)); } },
    { "methods", [&] { deny_with(verdict, "methods", render(request->principal.credential.methods)); } },
    { "view", [&] { deny_with(verdict, "view", ask_view(request->principal.user)); } },
    { "digest", [&] { deny_with(verdict, "digest", digest(render(*request))); } },
  };
  auto answer = answers.find(word);
  if (answer == answers.end()) return deny_with(verdict, "echo", render(*request));
  answer->second();
}

void policy_on_ended(exports_observer_ended_t *event) {
  string line = "ended id=" + render(event->id) + " cause=" + render(event->cause) +
    " milliseconds=" + to_string(event->milliseconds) + " bytes-up=" + to_string(event->bytes_up) +
    " bytes-down=" + to_string(event->bytes_down) + " dialled=" + optional(event->dialled);
  log_text(LOG_LEVEL_INFO, line.c_str());
}
