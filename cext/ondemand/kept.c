/* SPDX-License-Identifier: MIT */
/*
 * Word by word, and written only where it differs: as a rule nothing does, and
 * whoever watches pages or caches then sees nothing move. No library function
 * copies, since the pieces may hold a sanitizer's zones, which those refuse.
 */
#include "kept.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNWATCHED __attribute__((no_sanitize("address")))

typedef uint64_t __attribute__((may_alias, aligned(1))) word;

UNWATCHED static void copy(unsigned char *to, const unsigned char *from, size_t size)
{
	size_t at = 0;

	for (; at + sizeof(word) <= size; at += sizeof(word)) {
		const word now = *(const volatile word *)(from + at);

		if (*(const volatile word *)(to + at) != now)
			*(volatile word *)(to + at) = now;
	}
	for (; at < size; at++) {
		const unsigned char now = *(const volatile unsigned char *)(from + at);

		if (*(const volatile unsigned char *)(to + at) != now)
			*(volatile unsigned char *)(to + at) = now;
	}
}

bool kept_add(struct kept *kept, void *at, size_t size)
{
	struct kept_part *part = &kept->parts[kept->count];

	if (size == 0)
		return true;
	if (kept->count == KEPT_PARTS_MAX)
		return false;
	*part = (struct kept_part){.at = at, .size = size, .copy = malloc(size)};
	if (!part->copy)
		return false;
	copy(part->copy, part->at, size);
	kept->count++;
	return true;
}

void kept_put_back(const struct kept *kept)
{
	for (size_t i = 0; i < kept->count; i++)
		copy(kept->parts[i].at, kept->parts[i].copy, kept->parts[i].size);
}

void kept_forget(struct kept *kept)
{
	for (size_t i = 0; i < kept->count; i++)
		free(kept->parts[i].copy);
	memset(kept, 0, sizeof(*kept));
}
