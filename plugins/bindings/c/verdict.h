// Short forms for policies in C and C++: texts and verdicts. All that policy.h declares can be used as well.
//
// Who frees what: what a policy returns (verdicts, problems, descriptions) is freed for it, so every text in it must be one
// of `text` or `text_of`, never a literal. What it is given need not be freed: nothing outlives a decision.
#ifndef PORTREEVE_VERDICT_H
#define PORTREEVE_VERDICT_H

#include "policy.h"
#include <stdlib.h>
#include <string.h>

// A text to return.
static inline policy_string_t text(const char *words) {
  policy_string_t made;
  if (!words) __builtin_trap();
  policy_string_dup(&made, words);
  return made;
}

// The same of a text that was given, or of a part of it.
static inline policy_string_t text_of(const char *bytes, size_t length) {
  policy_string_t made;
  policy_string_dup_n(&made, bytes, length);
  return made;
}

static inline bool equals(policy_string_t one, const char *other) {
  return one.len == strlen(other) && memcmp(one.ptr, other, one.len) == 0;
}

static inline bool ends_with(policy_string_t one, const char *end) {
  size_t length = strlen(end);
  return one.len >= length && memcmp(one.ptr + one.len - length, end, length) == 0;
}

static inline bool contains(policy_list_string_t list, const char *wanted) {
  for (size_t i = 0; i < list.len; i++)
    if (equals(list.ptr[i], wanted)) return true;
  return false;
}

// A line in the gateway's log; nothing is freed.
static inline void log_text(log_level_t level, const char *words) {
  policy_string_t line = { (uint8_t *)words, strlen(words) };
  log_write(level, &line);
}

static inline void allow(policy_verdict_t *verdict) {
  memset(verdict, 0, sizeof *verdict);
  verdict->tag = POLICY_VERDICT_ALLOW;
}

// Allows on terms; to begin with there are none, set those that are wanted.
static inline policy_terms_t *allow_with(policy_verdict_t *verdict) {
  memset(verdict, 0, sizeof *verdict);
  verdict->tag = POLICY_VERDICT_ALLOW_WITH;
  return &verdict->val.allow_with;
}

// `tell_user` may be NULL: the user then sees a general sentence.
static inline void deny(policy_verdict_t *verdict, const char *code, const char *reason, const char *tell_user) {
  memset(verdict, 0, sizeof *verdict);
  verdict->tag = POLICY_VERDICT_DENY;
  verdict->val.deny.code = text(code);
  verdict->val.deny.reason = text(reason);
  if (tell_user) {
    verdict->val.deny.tell_user.is_some = true;
    verdict->val.deny.tell_user.val = text(tell_user);
  }
}

// Connects or listens elsewhere (`rewrite = true` in policy.toml and in the gateway's configuration).
static inline void rewrite(policy_verdict_t *verdict, const char *host, uint16_t port, const char *reason) {
  memset(verdict, 0, sizeof *verdict);
  verdict->tag = POLICY_VERDICT_REWRITE;
  verdict->val.rewrite.to.tag = POLICY_ENDPOINT_TCP;
  verdict->val.rewrite.to.val.tcp.host = text(host);
  verdict->val.rewrite.to.val.tcp.port = port;
  verdict->val.rewrite.reason = text(reason);
}

// Sets the tags of terms: `pairs` are `count` names and values, one after the other.
static inline void set_tags(policy_terms_t *terms, const char *const *pairs, size_t count) {
  terms->tags.ptr = (policy_tuple2_string_string_t *)calloc(count, sizeof(policy_tuple2_string_string_t));
  terms->tags.len = count;
  for (size_t i = 0; i < count; i++) {
    terms->tags.ptr[i].f0 = text(pairs[2 * i]);
    terms->tags.ptr[i].f1 = text(pairs[2 * i + 1]);
  }
}

static inline void describe(policy_description_t *description, const char *name, const char *version, const char *summary) {
  memset(description, 0, sizeof *description);
  description->name = text(name);
  description->version = text(version);
  description->summary = text(summary);
}

// Refuses the settings with one problem: to be returned by `policy_configure`.
static inline bool refuse_settings(policy_list_problem_t *problems, const char *at, const char *message) {
  problems->ptr = (exports_lifecycle_problem_t *)calloc(1, sizeof(exports_lifecycle_problem_t));
  problems->len = 1;
  problems->ptr[0].at = text(at);
  problems->ptr[0].message = text(message);
  return false;
}

#ifdef __cplusplus
#include <string_view>

// A text of the request, to look at.
static inline std::string_view view(policy_string_t text) {
  return { reinterpret_cast<const char *>(text.ptr), text.len };
}

// A text to return.
static inline policy_string_t text(std::string_view words) {
  return text_of(words.data(), words.size());
}
#endif

#endif
