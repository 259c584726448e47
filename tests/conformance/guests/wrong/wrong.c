// The guest of ../c with one wrong answer, which the suite must catch.
#define IDLE_SECONDS 31
#include "../c/conformance.c"
