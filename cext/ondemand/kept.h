/* SPDX-License-Identifier: MIT */
/*
 * Memory that is put back as it was: what somebody else's provider keeps outside of
 * shared memory would else let one execution begin where the last one ended.
 */
#ifndef ZCRX_KEPT_H
#define ZCRX_KEPT_H

#include <stdbool.h>
#include <stddef.h>

#define KEPT_PARTS_MAX 32U

struct kept_part {
	unsigned char *at;
	size_t size;
	unsigned char *copy;
};

struct kept {
	struct kept_part parts[KEPT_PARTS_MAX];
	size_t count;
};

/* Keep a piece of memory as it stands now; false without memory or room for one more. */
bool kept_add(struct kept *kept, void *at, size_t size);
/* All pieces as they were kept. */
void kept_put_back(const struct kept *kept);
void kept_forget(struct kept *kept);

#endif /* ZCRX_KEPT_H */
