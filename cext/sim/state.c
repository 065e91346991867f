/* SPDX-License-Identifier: MIT */
/*
 * Not instrumented: copying the provider's data must be no access of an actor's.
 * What an execution allocates comes from one block, which is put back like the rest:
 * nothing is ever freed in it, since an execution is over before that matters.
 */
#include "state.h"
#include "ondemand/kept.h"

#include <stdint.h>
#include <string.h>

#define ARENA (4U << 20)
#define ALIGNMENT 64U

static struct kept kept; /* static data, and the arena */
static _Alignas(ALIGNMENT) unsigned char arena[ARENA];
static size_t used;
static size_t used_at_first;

static bool keep(struct sim_bound *first, struct sim_bound *last)
{
	/* As integers: for the compiler they are objects that have nothing to do with each other. */
	uintptr_t from = (uintptr_t)first, to = (uintptr_t)last;

	return from <= to && kept_add(&kept, first, to - from);
}

bool sim_state_keep(void)
{
	used_at_first = used;
	return keep(&sim_first_data, &sim_last_data) && keep(&sim_first_bss, &sim_last_bss) &&
	       keep(&sim_first_tdata, &sim_last_tdata) && keep(&sim_first_tbss, &sim_last_tbss) &&
	       kept_add(&kept, arena, used);
}

void sim_state_put_back(void)
{
	kept_put_back(&kept);
	used = used_at_first;
}

void sim_state_forget(void)
{
	kept_forget(&kept);
}

/* Each piece is preceded by its size, so that it can be moved. */
static void *take(size_t alignment, size_t size)
{
	size_t at = (used + sizeof(size) + alignment - 1) / alignment * alignment;

	if (at >= ARENA || size > ARENA - at)
		return NULL;
	memcpy(arena + at - sizeof(size), &size, sizeof(size));
	/* The same in each execution, and nothing that a provider may count on. */
	memset(arena + at, 0xa5, size);
	used = at + size;
	return arena + at;
}

void *sim_malloc(size_t size)
{
	return take(16, size);
}

void *sim_calloc(size_t count, size_t size)
{
	size_t total;
	void *memory;

	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	memory = take(16, total);
	if (memory)
		memset(memory, 0, total);
	return memory;
}

void *sim_realloc(void *old, size_t size)
{
	void *memory = take(16, size);
	size_t before;

	if (!memory || !old)
		return memory;
	memcpy(&before, (unsigned char *)old - sizeof(before), sizeof(before));
	memcpy(memory, old, before < size ? before : size);
	return memory;
}

void *sim_aligned_alloc(size_t alignment, size_t size)
{
	if (alignment == 0 || (alignment & (alignment - 1)) || alignment > ARENA)
		return NULL;
	return take(alignment < 16 ? 16 : alignment > ALIGNMENT ? ALIGNMENT : alignment, size);
}

char *sim_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = sim_malloc(size);

	return copy ? memcpy(copy, text, size) : NULL;
}

void sim_free(void *memory)
{
	(void)memory;
}
