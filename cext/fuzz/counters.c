/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "counters.h"
#include "ondemand/usage.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define OBJECT_SHIFT 40U
#define PLACE_SHIFT 3U
#define OBJECTS_MAX 64U

/* The largest range that a number of passes is in. */
static uint32_t range_of(uint32_t passes)
{
	static const uint32_t begins[] = {2, 3, 4, 8, 16, 32, 128};
	uint32_t range = 0;

	while (range < sizeof(begins) / sizeof(begins[0]) && passes >= begins[range])
		range++;
	return range;
}

static void put(FILE *to, uint32_t object, uint64_t place, uint32_t passes, bool *is_first)
{
	fprintf(to, *is_first ? "%" PRIu64 : " %" PRIu64,
		((uint64_t)object << OBJECT_SHIFT) | (place << PLACE_SHIFT) | range_of(passes));
	*is_first = false;
}

/* ---- counters that the compiler puts in ---------------------------------------------------- */

static struct {
	uint8_t *start, *stop;
} regions[OBJECTS_MAX];
static uint32_t region_count;

void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);

/* Once for each object file, as it is loaded: a sanitizer's own runtime would do nothing with it. */
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop)
{
	for (uint32_t i = 0; i < region_count; i++)
		if (regions[i].start == start)
			return;
	if (start == stop || region_count == OBJECTS_MAX)
		return;
	regions[region_count].start = start;
	regions[region_count++].stop = stop;
}

void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop)
{
	(void)start, (void)stop;
}

/* ---- calls that the compiler puts in ---------------------------------------------------- */

#define PLACES_MAX (1U << 17)

struct place {
	uintptr_t at; /* 0 = unused */
	uint32_t object;
	uint64_t offset; /* in its object file: where that is loaded is another matter each time */
	uint32_t passes;
};

static struct place places[PLACES_MAX];
static uint32_t used[PLACES_MAX]; /* those of the places that were ever passed */
static uint32_t used_count;

static uint32_t object_at(const void *base)
{
	static const void *bases[OBJECTS_MAX];
	static uint32_t count;
	uint32_t object = 0;

	while (object < count && bases[object] != base)
		object++;
	if (object == OBJECTS_MAX)
		wrong_use("coverage", "provider", "it is of too many object files");
	if (object == count)
		bases[count++] = base;
	return object;
}

/* The harness itself comes first, whatever is passed first. */
static void place_it(struct place *place, uintptr_t at)
{
	Dl_info own, other;

	if (!dladdr((void *)(uintptr_t)counters_clear, &own) || !dladdr((void *)at, &other))
		wrong_use("coverage", "provider", "nothing is known of where its code lies");
	object_at(own.dli_fbase);
	place->object = object_at(other.dli_fbase);
	place->offset = at - (uintptr_t)other.dli_fbase;
	place->at = at;
	used[used_count++] = (uint32_t)(place - places);
}

void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void)
{
	uintptr_t at = (uintptr_t)__builtin_return_address(0);
	uint64_t which = ((uint64_t)at * 0x9e3779b97f4a7c15U) >> 47;

	while (places[which].at && places[which].at != at)
		which = (which + 1) % PLACES_MAX;
	if (!places[which].at) {
		if (used_count >= PLACES_MAX / 2)
			wrong_use("coverage", "provider", "it has too much code");
		place_it(&places[which], at);
	}
	places[which].passes++;
}

/* ---- both ----------------------------------------------------------------------------- */

void counters_clear(void)
{
	for (uint32_t i = 0; i < region_count; i++)
		memset(regions[i].start, 0, (size_t)(regions[i].stop - regions[i].start));
	for (uint32_t i = 0; i < used_count; i++)
		places[used[i]].passes = 0;
}

void counters_put(FILE *to)
{
	bool is_first = true;

	for (uint32_t object = 0; object < region_count; object++) {
		const uint8_t *counters = regions[object].start;
		size_t count = (size_t)(regions[object].stop - counters);

		for (size_t i = 0; i < count; i++)
			if (counters[i])
				put(to, object, i, counters[i], &is_first);
	}
	for (uint32_t i = 0; i < used_count; i++) {
		const struct place *place = &places[used[i]];

		if (place->passes)
			put(to, place->object, place->offset, place->passes, &is_first);
	}
}
