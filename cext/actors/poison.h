/* SPDX-License-Identifier: MIT */
/*
 * Poison: a consumer of one's own sees the area through a view of its own, in which
 * a buffer can be touched only while a fragment of it is out. A fragment that is
 * read after it was given back is then noticed where it happens, not when its
 * bytes happen to have changed.
 *
 * The core's own mapping stays as it is: it checks bytes and commits faults in
 * buffers that nobody holds. The kernel's view of a poisoned buffer is the user's: a
 * system call that is given its bytes fails with EFAULT.
 */
#ifndef ZCRX_POISON_H
#define ZCRX_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZCRX_TOUCHES_MAX 64U /* remembered until they are taken; all are counted */

/* A poisoned buffer was touched. It stays open until it is given back once more. */
struct zcrx_touch {
	uint64_t off; /* in the area */
	int32_t thread; /* the kernel's number of it */
	uint32_t is_write; /* where the machine tells: x86 */
};

struct zcrx_poison;

/* Remember what handles SIGSEGV now: a fault that is not ours will be given back to it. */
void zcrx_poison_keep_handler(void);
/*
 * A view of the area that is mapped at `area`, all of it poisoned, and our handler of
 * SIGSEGV; the one in place until now is told of each touch. NULL where that cannot be
 * had: a page is larger than a buffer, the kernel allows too few mappings, no memory.
 * Once in a process, and for its life.
 */
struct zcrx_poison *zcrx_poison_start(void *area, uint32_t num_niovs, uint32_t niov_shift);

void *zcrx_poison_view(const struct zcrx_poison *poison);
/* A fragment of the buffer was handed out, or was given back. */
void zcrx_poison_hand_out(struct zcrx_poison *poison, uint32_t niov);
void zcrx_poison_give_back(struct zcrx_poison *poison, uint32_t niov);
/* Touches that were not taken yet, at most `max`; *count is how many there have ever been. */
uint32_t zcrx_poison_take(struct zcrx_poison *poison, struct zcrx_touch *touches, uint32_t max,
			  uint64_t *count);

#endif /* ZCRX_POISON_H */
