// The conformance guest in C. What it answers: tests/conformance/README.md.
#include "verdict.h"
#include <stdio.h>
#include <stdlib.h>

// A text that grows.
typedef struct {
  char *bytes;
  size_t length, room;
} buffer_t;

static void put_bytes(buffer_t *out, const void *bytes, size_t length) {
  if (out->length + length > out->room) {
    out->room = (out->length + length) * 2;
    out->bytes = realloc(out->bytes, out->room);
    if (!out->bytes) abort();
  }
  if (length) memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
}

static void put_words(buffer_t *out, const char *words) {
  put_bytes(out, words, strlen(words));
}

static void put_number(buffer_t *out, const char *format, unsigned long long number) {
  char digits[128];
  snprintf(digits, sizeof digits, format, number);
  put_words(out, digits);
}

static void put_text(buffer_t *out, policy_string_t text) {
  put_words(out, "\"");
  put_bytes(out, text.ptr, text.len);
  put_words(out, "\"");
}

static void put_texts(buffer_t *out, policy_list_string_t texts) {
  put_words(out, "[");
  for (size_t i = 0; i < texts.len; i++) {
    if (i) put_words(out, ",");
    put_text(out, texts.ptr[i]);
  }
  put_words(out, "]");
}

static void put_optional(buffer_t *out, policy_option_string_t text) {
  if (text.is_some) put_text(out, text.val);
  else put_words(out, "-");
}

static void put_peer(buffer_t *out, policy_socket_address_t peer) {
  put_words(out, "(");
  put_text(out, peer.ip);
  put_number(out, ",%llu)", peer.port);
}

static void put_optional_peer(buffer_t *out, policy_option_socket_address_t peer) {
  if (peer.is_some) put_peer(out, peer.val);
  else put_words(out, "-");
}

static void put_endpoint(buffer_t *out, policy_endpoint_t endpoint) {
  if (endpoint.tag == POLICY_ENDPOINT_TCP) {
    put_words(out, "tcp(");
    put_text(out, endpoint.val.tcp.host);
    put_number(out, ",%llu)", endpoint.val.tcp.port);
  } else {
    put_words(out, "socket(");
    put_text(out, endpoint.val.socket);
    put_words(out, ")");
  }
}

static void put_value(buffer_t *out, policy_value_t value) {
  switch (value.tag) {
    case POLICY_VALUE_TEXT:
      put_words(out, "text(");
      put_text(out, value.val.text);
      break;
    case POLICY_VALUE_TEXTS:
      put_words(out, "texts(");
      put_texts(out, value.val.texts);
      break;
    case POLICY_VALUE_NUMBER:
      put_number(out, "number(%lld", (unsigned long long)value.val.number);
      break;
    default:
      put_words(out, value.val.flag ? "flag(true" : "flag(false");
  }
  put_words(out, ")");
}

static void put_values(buffer_t *out, policy_list_tuple2_string_value_t values) {
  put_words(out, "[");
  for (size_t i = 0; i < values.len; i++) {
    if (i) put_words(out, ",");
    put_text(out, values.ptr[i].f0);
    put_words(out, "=");
    put_value(out, values.ptr[i].f1);
  }
  put_words(out, "]");
}

static void put_pairs(buffer_t *out, policy_list_tuple2_string_string_t pairs) {
  put_words(out, "[");
  for (size_t i = 0; i < pairs.len; i++) {
    if (i) put_words(out, ",");
    put_text(out, pairs.ptr[i].f0);
    put_words(out, "=");
    put_text(out, pairs.ptr[i].f1);
  }
  put_words(out, "]");
}

static void put_certificate(buffer_t *out, policy_option_certificate_t given) {
  if (!given.is_some) {
    put_words(out, "-");
    return;
  }
  policy_certificate_t certificate = given.val;
  put_words(out, "(key-id=");
  put_text(out, certificate.key_id);
  put_number(out, " serial=%llu issuer=", certificate.serial);
  put_text(out, certificate.issuer);
  put_words(out, " principals=");
  put_texts(out, certificate.principals);
  put_number(out, " valid-after=%llu", certificate.valid_after);
  put_number(out, " valid-before=%llu critical-options=", certificate.valid_before);
  put_pairs(out, certificate.critical_options);
  put_words(out, " extensions=");
  put_pairs(out, certificate.extensions);
  put_words(out, ")");
}

static void put_request(buffer_t *out, policy_request_t *request) {
  static const char *actions[] = { "connect", "listen", "accept" };
  policy_principal_t principal = request->principal;
  policy_connection_t connection = request->connection;
  put_words(out, "id=");
  put_text(out, request->id);
  put_number(out, " now=%llu action=", request->now);
  put_words(out, actions[request->action]);
  put_words(out, " target=");
  put_endpoint(out, request->target);
  put_words(out, " requested=");
  put_endpoint(out, request->requested);
  put_words(out, " address=");
  put_optional(out, request->address);
  put_words(out, " originator=");
  put_optional_peer(out, request->originator);
  put_words(out, " user=");
  put_text(out, principal.user);
  put_words(out, " groups=");
  put_texts(out, principal.groups);
  put_words(out, " method=");
  put_text(out, principal.credential.method);
  put_words(out, " fingerprint=");
  put_optional(out, principal.credential.fingerprint);
  put_words(out, " certificate=");
  put_certificate(out, principal.credential.certificate);
  put_words(out, " claims=");
  put_values(out, principal.claims);
  put_words(out, " session=");
  put_text(out, connection.id);
  put_words(out, " client=");
  put_peer(out, connection.client);
  put_words(out, " server=");
  put_peer(out, connection.server);
  put_words(out, " software=");
  put_text(out, connection.software);
  put_number(out, " since=%llu dry-run=", connection.since);
  put_words(out, request->dry_run ? "true" : "false");
  put_words(out, " extra=");
  put_values(out, request->extra);
}

// What is in the buffer becomes the reason of a denial.
static void deny_with(policy_verdict_t *verdict, const char *code, buffer_t *out) {
  deny(verdict, code, "", NULL);
  verdict->val.deny.reason = text_of(out->bytes, out->length);
}

static void digest(policy_request_t *request, policy_verdict_t *verdict) {
  buffer_t out = { 0 }, words = { 0 };
  put_request(&out, request);
  uint32_t hash = 0x811c9dc5;
  for (size_t i = 0; i < out.length; i++) hash = (hash ^ (uint8_t)out.bytes[i]) * 0x01000193u;
  put_number(&words, "%llu bytes, fnv1a ", out.length);
  put_number(&words, "%08llx", hash);
  deny_with(verdict, "digest", &words);
}

// A wrong guest (../wrong) changes this.
#ifndef IDLE_SECONDS
#define IDLE_SECONDS 30
#endif

static policy_tuple2_string_value_t hint(const char *name, uint8_t tag) {
  policy_tuple2_string_value_t pair = { text(name), { .tag = tag } };
  return pair;
}

static void full_terms(policy_terms_t *terms) {
  memset(terms, 0, sizeof *terms);
  terms->max_seconds = (policy_option_u32_t){ true, 60 };
  terms->idle_seconds = (policy_option_u32_t){ true, IDLE_SECONDS };
  terms->max_bytes = (policy_option_u64_t){ true, 9007199254740991 };
  terms->bytes_per_second = (policy_option_u64_t){ true, 65536 };
  terms->address_rules.len = 2;
  terms->address_rules.ptr = calloc(2, sizeof *terms->address_rules.ptr);
  terms->address_rules.ptr[0] = (policy_address_rule_t){ text("10.0.0.0/8"), POLICY_EFFECT_PERMIT };
  terms->address_rules.ptr[1] = (policy_address_rule_t){ text("::/0"), POLICY_EFFECT_REFUSE };
  terms->recheck_seconds = (policy_option_u32_t){ true, 15 };
  terms->reuse_seconds = (policy_option_u32_t){ true, 5 };
  set_tags(terms, (const char *[]){ "rule", "terms", "ключ", "日本語 🚪" }, 2);
  terms->obligations.len = 1;
  terms->obligations.ptr = calloc(1, sizeof *terms->obligations.ptr);
  terms->obligations.ptr[0] = hint("replace-socket", POLICY_VALUE_FLAG);
  terms->obligations.ptr[0].f1.val.flag = true;
  terms->hints.len = 4;
  terms->hints.ptr = calloc(4, sizeof *terms->hints.ptr);
  terms->hints.ptr[0] = hint("text", POLICY_VALUE_TEXT);
  terms->hints.ptr[0].f1.val.text = text("words");
  terms->hints.ptr[1] = hint("texts", POLICY_VALUE_TEXTS);
  terms->hints.ptr[1].f1.val.texts.len = 2;
  terms->hints.ptr[1].f1.val.texts.ptr = calloc(2, sizeof(policy_string_t));
  terms->hints.ptr[1].f1.val.texts.ptr[0] = text("one");
  terms->hints.ptr[1].f1.val.texts.ptr[1] = text("two");
  terms->hints.ptr[2] = hint("number", POLICY_VALUE_NUMBER);
  terms->hints.ptr[2].f1.val.number = -7;
  terms->hints.ptr[3] = hint("flag", POLICY_VALUE_FLAG);
}

static void largest(policy_terms_t *terms) {
  terms->max_seconds = (policy_option_u32_t){ true, UINT32_MAX };
  terms->max_bytes = (policy_option_u64_t){ true, UINT64_MAX };
  terms->hints.len = 2;
  terms->hints.ptr = calloc(2, sizeof *terms->hints.ptr);
  terms->hints.ptr[0] = hint("least", POLICY_VALUE_NUMBER);
  terms->hints.ptr[0].f1.val.number = INT64_MIN;
  terms->hints.ptr[1] = hint("most", POLICY_VALUE_NUMBER);
  terms->hints.ptr[1].f1.val.number = INT64_MAX;
}

static void rules(policy_terms_t *terms, size_t count) {
  terms->address_rules.len = count;
  terms->address_rules.ptr = calloc(count, sizeof *terms->address_rules.ptr);
  for (size_t i = 0; i < count; i++) {
    char cidr[32];
    snprintf(cidr, sizeof cidr, "10.%zu.%zu.0/24", i / 256, i % 256);
    terms->address_rules.ptr[i] = (policy_address_rule_t){ text(cidr), i % 2 ? POLICY_EFFECT_REFUSE : POLICY_EFFECT_PERMIT };
  }
}

static void tags(policy_terms_t *terms, size_t count) {
  terms->tags.len = count;
  terms->tags.ptr = calloc(count, sizeof *terms->tags.ptr);
  for (size_t i = 0; i < count; i++) {
    char name[32], value[32];
    snprintf(name, sizeof name, "tag-%zu", i);
    snprintf(value, sizeof value, "%zu", i);
    terms->tags.ptr[i] = (policy_tuple2_string_string_t){ text(name), text(value) };
  }
}

static policy_string_t lent(const char *words) {
  return (policy_string_t){ (uint8_t *)words, strlen(words) };
}

static void put_lookup(buffer_t *out, policy_string_t host) {
  static const char *errors[] = { "err(not-granted)", "err(no-such-name)", "err(timed-out)", "err(over-budget)" };
  policy_list_string_t addresses;
  names_lookup_error_t error;
  out->length = 0;
  if (names_resolve(&host, &addresses, &error)) {
    put_texts(out, addresses);
  } else if (error.tag == NAMES_LOOKUP_ERROR_FAILED) {
    put_words(out, "err(failed ");
    put_text(out, error.val.failed);
    put_words(out, ")");
  } else {
    put_words(out, errors[error.tag]);
  }
}

static void ask_names(policy_request_t *request, policy_verdict_t *verdict, size_t number) {
  buffer_t out = { 0 };
  for (size_t i = 1; i <= number; i++) {
    char host[32];
    snprintf(host, sizeof host, "n%zu.internal", i);
    put_lookup(&out, lent(host));
  }
  if (!number) {
    policy_string_t host = request->target.val.tcp.host;
    size_t start = 0;
    while (start < host.len && host.ptr[start++] != '.') continue;
    put_lookup(&out, (policy_string_t){ host.ptr + start, host.len - start });
  }
  deny_with(verdict, "names", &out);
}

static void put_state_error(buffer_t *out, state_state_error_t error) {
  static const char *errors[] = { "err(not-granted)", "err(over-budget)", "err(too-large)", "err(unavailable)" };
  put_words(out, errors[error.tag]);
}

static void put_got(buffer_t *out, const char *key) {
  policy_string_t name = lent(key);
  policy_option_list_u8_t bytes;
  state_state_error_t error;
  if (!state_get(&name, &bytes, &error)) put_state_error(out, error);
  else if (!bytes.is_some) put_words(out, "-");
  else for (size_t i = 0; i < bytes.val.len; i++) put_number(out, "%02llx", bytes.val.ptr[i]);
}

static void put_put(buffer_t *out, const char *key, uint8_t *bytes, size_t length) {
  policy_string_t name = lent(key);
  policy_list_u8_t value = { bytes, length };
  state_state_error_t error;
  if (state_put(&name, &value, 60, &error)) put_words(out, "ok");
  else put_state_error(out, error);
}

static void put_added(buffer_t *out, const char *key, int64_t delta) {
  policy_string_t name = lent(key);
  int64_t value;
  state_state_error_t error;
  if (state_add(&name, delta, 60, &value, &error)) put_number(out, "%lld", (unsigned long long)value);
  else put_state_error(out, error);
}

static void ask_state(policy_verdict_t *verdict, size_t number) {
  buffer_t out = { 0 };
  for (size_t i = 0; i < number; i++) {
    out.length = 0;
    put_added(&out, "n", 1);
  }
  if (!number) {
    put_words(&out, "text=");
    put_got(&out, "text");
    put_words(&out, " put=");
    put_put(&out, "key", (uint8_t[]){ 0, 1, 255 }, 3);
    put_words(&out, " key=");
    put_got(&out, "key");
    put_words(&out, " add=");
    put_added(&out, "counter", 2);
    put_words(&out, " add=");
    put_added(&out, "counter", -5);
  }
  deny_with(verdict, "state", &out);
}

static void ask_view(policy_request_t *request, policy_verdict_t *verdict) {
  static const char *facts[] = { "text", "texts", "number", "flag", "absent" };
  buffer_t out = { 0 };
  put_number(&out, "open=%llu", view_open_forwards(&request->principal.user));
  for (size_t i = 0; i < 5; i++) {
    policy_string_t name = lent(facts[i]);
    view_value_t value;
    put_words(&out, " ");
    put_words(&out, facts[i]);
    put_words(&out, "=");
    if (view_fact(&name, &value)) put_value(&out, value);
    else put_words(&out, "-");
  }
  deny_with(verdict, "view", &out);
}

static void ask_calendar(policy_request_t *request, policy_verdict_t *verdict, size_t number) {
  static const char *errors[] = { "err(unknown-zone)", "err(out-of-range)", "err(over-budget)" };
  buffer_t out = { 0 };
  policy_string_t zone = lent(number ? "Mars/Olympus" : "Asia/Kathmandu");
  calendar_local_time_t at;
  calendar_calendar_error_t error;
  if (calendar_local(request->now, &zone, &at, &error)) {
    char line[96];
    snprintf(line, sizeof line, "%d-%d-%d %d:%d:%d %d %d", (int)at.year, at.month, at.day, at.hour, at.minute, at.second,
             at.weekday, (int)at.utc_offset);
    put_words(&out, line);
  } else {
    put_words(&out, errors[error]);
  }
  deny_with(verdict, "calendar", &out);
}

static void ask_methods(policy_request_t *request, policy_verdict_t *verdict) {
  buffer_t out = { 0 };
  put_texts(&out, request->principal.credential.methods);
  deny_with(verdict, "methods", &out);
}

static void write_lines(size_t number) {
  for (size_t i = 1; i <= number; i++) {
    char line[32];
    snprintf(line, sizeof line, "line %zu", i);
    log_text(LOG_LEVEL_INFO, line);
  }
}

static void long_reason(policy_verdict_t *verdict, size_t number) {
  buffer_t out = { 0 };
  for (size_t i = 0; i < number; i++) put_words(&out, "x");
  deny_with(verdict, "words", &out);
}

static char greeting[256] = "-";

void policy_describe(policy_description_t *description) {
  describe(description, "conformance", "0.1.0", "answers what the suite expects: ключ 日本語 🚪");
  description->settings_schema.is_some = true;
  description->settings_schema.val = text("{\"type\":\"object\"}");
}

bool policy_configure(policy_string_t *settings, policy_list_problem_t *problems) {
  char *document = calloc(settings->len + 1, 1);
  memcpy(document, settings->ptr, settings->len);
  if (strstr(document, "\"refuse\"")) {
    problems->len = 2;
    problems->ptr = calloc(2, sizeof *problems->ptr);
    problems->ptr[0].at = text("/refuse");
    problems->ptr[0].message = text("refused");
    problems->ptr[1].at = text("/ключ");
    problems->ptr[1].message = text("日本語 🚪");
    return false;
  }
  const char *given = strstr(document, "\"greeting\":\"");
  if (given) {
    given += strlen("\"greeting\":\"");
    snprintf(greeting, sizeof greeting, "%.*s", (int)strcspn(given, "\""), given);
  }
  return true;
}

// The first label of the host, or of the name of the socket, up to a hyphen and a number.
static size_t read_label(policy_endpoint_t target, char *word, size_t room) {
  policy_string_t name = target.tag == POLICY_ENDPOINT_TCP ? target.val.tcp.host : target.val.socket;
  size_t start = 0, length = 0;
  if (target.tag == POLICY_ENDPOINT_SOCKET)
    for (size_t i = 0; i < name.len; i++)
      if (name.ptr[i] == '/') start = i + 1;
  while (start + length < name.len && name.ptr[start + length] != '.' && length + 1 < room) length++;
  memcpy(word, name.ptr + start, length);
  word[length] = 0;
  char *hyphen = strrchr(word, '-');
  if (!hyphen || !hyphen[1] || hyphen[1 + strspn(hyphen + 1, "0123456789")]) return 0;
  *hyphen = 0;
  return strtoul(hyphen + 1, NULL, 10);
}

void policy_decide(policy_request_t *request, policy_verdict_t *verdict) {
  char word[256];
  size_t number = read_label(request->target, word, sizeof word);
  policy_terms_t none = { 0 };
#define IS(name) (strcmp(word, name) == 0)
  if (IS("allow")) allow(verdict);
  else if (IS("nothing")) allow_with(verdict);
  else if (IS("terms")) full_terms(allow_with(verdict));
  else if (IS("largest")) largest(allow_with(verdict));
  else if (IS("rules")) rules(allow_with(verdict), number);
  else if (IS("tags")) tags(allow_with(verdict), number);
  else if (IS("badcidr")) {
    policy_terms_t *terms = allow_with(verdict);
    rules(terms, 1);
    terms->address_rules.ptr[0].cidr = text("10.0.0.0/33");
  } else if (IS("obligation")) {
    policy_terms_t *terms = allow_with(verdict);
    terms->obligations.len = 1;
    terms->obligations.ptr = calloc(1, sizeof *terms->obligations.ptr);
    terms->obligations.ptr[0] = hint("launch", POLICY_VALUE_NUMBER);
    terms->obligations.ptr[0].f1.val.number = 1;
  } else if (IS("deny")) deny(verdict, "conformance", "denied", NULL);
  else if (IS("tell")) deny(verdict, "conformance", "told", "ключ 日本語 🚪");
  else if (IS("empty")) deny(verdict, "conformance", "", "");
  else if (IS("badcode")) deny(verdict, "not a word", "", NULL);
  else if (IS("words")) long_reason(verdict, number);
  else if (IS("rewrite")) rewrite(verdict, "elsewhere.internal", 8443, "moved");
  else if (IS("rewriteterms")) {
    rewrite(verdict, "elsewhere.internal", 8443, "moved");
    verdict->val.rewrite.terms = (policy_option_terms_t){ true, none };
    full_terms(&verdict->val.rewrite.terms.val);
  } else if (IS("rewritesocket")) {
    rewrite(verdict, "", 0, "moved");
    verdict->val.rewrite.to = (policy_endpoint_t){ .tag = POLICY_ENDPOINT_SOCKET };
    verdict->val.rewrite.to.val.socket = text("/run/elsewhere.sock");
  } else if (IS("panic")) abort();
  else if (IS("spin")) for (volatile int forever = 1; forever;) continue;
  else if (IS("settings")) deny(verdict, "settings", greeting, NULL);
  else if (IS("log")) {
    log_text(LOG_LEVEL_DEBUG, "debug line");
    log_text(LOG_LEVEL_INFO, "info line");
    log_text(LOG_LEVEL_WARN, "warn line");
    log_text(LOG_LEVEL_ERROR, "error line: ключ 日本語 🚪");
    allow(verdict);
  } else if (IS("lines")) {
    write_lines(number);
    allow(verdict);
  } else if (IS("names")) ask_names(request, verdict, number);
  else if (IS("state")) ask_state(verdict, number);
  else if (IS("large")) {
    buffer_t out = { 0 };
    put_words(&out, "put=");
    put_put(&out, "big", calloc(65537, 1), 65537);
    deny_with(verdict, "large", &out);
  } else if (IS("view")) ask_view(request, verdict);
  else if (IS("calendar")) ask_calendar(request, verdict, number);
  else if (IS("methods")) ask_methods(request, verdict);
  else if (IS("digest")) digest(request, verdict);
  else {
    buffer_t out = { 0 };
    put_request(&out, request);
    deny_with(verdict, "echo", &out);
  }
}

void policy_on_ended(exports_observer_ended_t *event) {
  buffer_t out = { 0 };
  put_words(&out, "ended id=");
  put_text(&out, event->id);
  put_words(&out, " cause=");
  put_text(&out, event->cause);
  put_number(&out, " milliseconds=%llu", event->milliseconds);
  put_number(&out, " bytes-up=%llu", event->bytes_up);
  put_number(&out, " bytes-down=%llu dialled=", event->bytes_down);
  put_optional_peer(&out, event->dialled);
  policy_string_t line = { (uint8_t *)out.bytes, out.length };
  log_write(LOG_LEVEL_INFO, &line);
}
