// What the language leaves undefined (a null pointer, a division by zero, a number that does not fit, an index past the end)
// is checked where it happens: it is a line in the gateway's log, with its place, and then a trap. It is never an answer.
//
// `portreeve plugin build` compiles a policy with -fsanitize=undefined; these are the functions that clang then calls.
#include "policy.h"

#include <string.h>

typedef struct {
  const char *file;
  uint32_t line, column;
} place_t;

static size_t put(char *into, size_t length, size_t most, const char *words) {
  while (length < most && *words) into[length++] = *words++;
  return length;
}

static size_t put_number(char *into, size_t length, size_t most, uint32_t number) {
  char digits[11];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  return put(into, length, most, digits + at);
}

static _Noreturn void stop(const place_t *at, const char *what) {
  char line[256];
  size_t length = 0;
  if (at && at->file) {
    length = put(line, length, sizeof line, at->file);
    length = put(line, length, sizeof line, ":");
    length = put_number(line, length, sizeof line, at->line);
    length = put(line, length, sizeof line, ": ");
  }
  length = put(line, length, sizeof line, what);
  policy_string_t text = { (uint8_t *)line, length };
  log_write(LOG_LEVEL_ERROR, &text);
  __builtin_trap();
}

// The place is the first thing in what clang hands over.
#define CHECK(name, what, ...) \
  void __ubsan_handle_##name(place_t *at, ##__VA_ARGS__); \
  void __ubsan_handle_##name(place_t *at, ##__VA_ARGS__) { stop(at, what); }

CHECK(type_mismatch_v1_abort, "a null pointer, or one that is not aligned", uintptr_t pointer)
CHECK(pointer_overflow_abort, "a pointer past the end of memory", uintptr_t base, uintptr_t result)
CHECK(alignment_assumption_abort, "a pointer that is not aligned", uintptr_t pointer, uintptr_t alignment, uintptr_t offset)
CHECK(add_overflow_abort, "a sum that does not fit its type", uintptr_t left, uintptr_t right)
CHECK(sub_overflow_abort, "a difference that does not fit its type", uintptr_t left, uintptr_t right)
CHECK(mul_overflow_abort, "a product that does not fit its type", uintptr_t left, uintptr_t right)
CHECK(negate_overflow_abort, "a negation that does not fit its type", uintptr_t value)
CHECK(divrem_overflow_abort, "a division by zero, or one that does not fit its type", uintptr_t left, uintptr_t right)
CHECK(shift_out_of_bounds_abort, "a shift by more bits than there are", uintptr_t left, uintptr_t right)
CHECK(out_of_bounds_abort, "an index past the end of an array", uintptr_t index)
CHECK(vla_bound_not_positive_abort, "an array without a size", uintptr_t bound)
CHECK(float_cast_overflow_abort, "a number that does not fit its type", uintptr_t from)
CHECK(load_invalid_value_abort, "a value that its type does not have", uintptr_t value)
CHECK(invalid_builtin_abort, "a zero that must not be one")
CHECK(nonnull_arg_abort, "a null pointer as an argument")
CHECK(nonnull_return_v1_abort, "a null pointer as a result", place_t *returned)
CHECK(function_type_mismatch_abort, "a call of a function of another type", uintptr_t function)
CHECK(builtin_unreachable, "a place that must not be reached")
CHECK(missing_return, "the end of a function that returns nothing and should")

void __ubsan_handle_local_out_of_bounds_abort(void);
void __ubsan_handle_local_out_of_bounds_abort(void) { stop(NULL, "an index past the end of an array"); }
