/* SPDX-License-Identifier: MIT */
/*
 * What a program reaches of the subject: how often each place of its code was passed. The
 * compiler puts the counters in (clang), or calls us at each place (any other one).
 *
 * A feature is a place and a range of numbers of passes: 1, 2, 3, from 4, 8, 16, 32 and 128 on,
 * the ranges that libFuzzer tells apart. It is a number: which object file the place is in
 * (from bit 40 on: 0 the harness itself), which place (from bit 3 on), and the range.
 */
#ifndef ZCRX_FUZZ_COUNTERS_H
#define ZCRX_FUZZ_COUNTERS_H

#include <stdio.h>

/* Nothing was passed yet. */
void counters_clear(void);

/* The features of what was passed since, with spaces between them. */
void counters_put(FILE *to);

#endif /* ZCRX_FUZZ_COUNTERS_H */
