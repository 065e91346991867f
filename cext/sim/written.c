/* SPDX-License-Identifier: MIT */
/* By blocks: an execution writes a few of them, and memory has many. */
#include "written.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK 128U

bool written_open(struct sim_engine *engine)
{
	size_t blocks = engine->setup.whole_size / BLOCK + 1;

	engine->kept = malloc(engine->setup.whole_size);
	engine->is_dirty = calloc(blocks, 1);
	engine->dirty = calloc(blocks, sizeof(*engine->dirty));
	if (!engine->kept || !engine->is_dirty || !engine->dirty)
		return false;
	memcpy(engine->kept, engine->setup.whole, engine->setup.whole_size);
	return true;
}

void written_close(struct sim_engine *engine)
{
	free(engine->kept);
	free(engine->is_dirty);
	free(engine->dirty);
}

void written_note(const volatile void *address, size_t size)
{
	struct sim_engine *engine = execution_now;
	uintptr_t from;

	if (!engine)
		return;
	from = (uintptr_t)address - (uintptr_t)engine->setup.whole;
	if (from >= engine->setup.whole_size)
		return;
	for (uintptr_t block = from / BLOCK; block <= (from + size - 1) / BLOCK; block++) {
		if (engine->is_dirty[block])
			continue;
		engine->is_dirty[block] = 1;
		engine->dirty[engine->dirty_count++] = (uint32_t)block;
	}
}

void written_put_back(struct sim_engine *engine)
{
	while (engine->dirty_count) {
		uint32_t block = engine->dirty[--engine->dirty_count];

		memcpy((unsigned char *)engine->setup.whole + (size_t)block * BLOCK,
		       engine->kept + (size_t)block * BLOCK, BLOCK);
		engine->is_dirty[block] = 0;
	}
}
