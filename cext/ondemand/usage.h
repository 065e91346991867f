/* SPDX-License-Identifier: MIT */
/* What the programs that are built on demand do alike: read arguments, and look at the clock. */
#ifndef ZCRX_USAGE_H
#define ZCRX_USAGE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* A line, and code 2. Never returns, but has a value so that it can be returned. */
static inline int wrong_use(const char *what, const char *value, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", what, value, why);
	exit(2);
}

static inline uint64_t number(const char *name, const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		wrong_use(name, text, "it must be a number");
	return value;
}

static inline double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif /* ZCRX_USAGE_H */
