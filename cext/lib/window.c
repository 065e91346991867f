/* SPDX-License-Identifier: MIT */
#include "window.h"

#include <string.h>

#define PIECE 4096U

struct zcrx_lib_window zcrx_lib_window_of(const struct zcrx_emu_memory *memory, uint64_t at,
					  uint64_t size)
{
	return (struct zcrx_lib_window){
		.memory = memory,
		.at = at,
		.here = memory->map ? memory->map(memory->context, at, size) : NULL,
	};
}

struct zcrx_lib_window zcrx_lib_window_on(void *here)
{
	return (struct zcrx_lib_window){.here = here};
}

static shm_u32 *word_at(const struct zcrx_lib_window *window, uint32_t offset)
{
	return (shm_u32 *)(void *)(window->here + offset);
}

/*
 * Ordering: pairs with the releases in zcrx_rq_user_publish() and zcrx_cq_user_release(), or
 * the program's own.
 */
uint32_t zcrx_lib_window_load(const struct zcrx_lib_window *window, uint32_t offset,
			      uint32_t otherwise)
{
	const struct zcrx_emu_memory *memory = window->memory;
	uint32_t value;

	if (window->here)
		return shm_load_acquire_u32(word_at(window, offset), POINT_RQ_TAIL_LOAD);
	if (memory->read(memory->context, &value, window->at + offset, sizeof(value)))
		return otherwise;
	return value;
}

/*
 * Ordering: pairs with the acquires in zcrx_rq_user_room() and zcrx_cq_user_available(), or
 * the program's own.
 */
bool zcrx_lib_window_store(const struct zcrx_lib_window *window, uint32_t offset, uint32_t value)
{
	const struct zcrx_emu_memory *memory = window->memory;

	if (!window->here)
		return memory->write(memory->context, window->at + offset, &value, sizeof(value)) ==
		       0;
	shm_store_release_u32(word_at(window, offset), value, POINT_RQ_HEAD_STORE);
	return true;
}

bool zcrx_lib_window_read(const struct zcrx_lib_window *window, uint64_t offset, uint64_t *words,
			  uint32_t count)
{
	const struct zcrx_emu_memory *memory = window->memory;
	shm_u64 *from;

	if (!window->here)
		return memory->read(memory->context, words, window->at + offset,
				    count * sizeof(*words)) == 0;
	from = (shm_u64 *)(void *)(window->here + offset);
	for (uint32_t i = 0; i < count; i++)
		words[i] = shm_load_relaxed_u64(&from[i], POINT_RQE_LOAD);
	return true;
}

bool zcrx_lib_window_write(const struct zcrx_lib_window *window, uint64_t offset,
			   const uint64_t *words, uint32_t count)
{
	const struct zcrx_emu_memory *memory = window->memory;
	shm_u64 *to;

	if (!window->here)
		return memory->write(memory->context, window->at + offset, words,
				     count * sizeof(*words)) == 0;
	to = (shm_u64 *)(void *)(window->here + offset);
	for (uint32_t i = 0; i < count; i++)
		shm_store_relaxed_u64(&to[i], words[i], POINT_CQE_STORE);
	return true;
}

bool zcrx_lib_window_put(const struct zcrx_lib_window *window, uint64_t offset, const void *bytes,
			 uint32_t size)
{
	const struct zcrx_emu_memory *memory = window->memory;

	if (!window->here)
		return memory->write(memory->context, window->at + offset, bytes, size) == 0;
	memcpy(window->here + offset, bytes, size);
	return true;
}

bool zcrx_lib_window_set(const struct zcrx_lib_window *window, uint64_t offset, uint8_t byte,
			 uint32_t size)
{
	uint8_t bytes[PIECE];

	if (window->here) {
		memset(window->here + offset, byte, size);
		return true;
	}
	memset(bytes, byte, sizeof(bytes));
	for (uint32_t done = 0; done < size; done += PIECE) {
		if (!zcrx_lib_window_put(window, offset + done, bytes, PIECE))
			return false;
	}
	return true;
}

static uint32_t find_other(const uint8_t *bytes, uint8_t byte, uint32_t size, uint8_t *found)
{
	uint32_t at = 0;

	/* Nearly always all are alike: the first, and each like the one before it. */
	if (bytes[0] == byte && memcmp(bytes, bytes + 1, size - 1) == 0)
		return size;
	while (bytes[at] == byte)
		at++;
	*found = bytes[at];
	return at;
}

uint32_t zcrx_lib_window_find_other(const struct zcrx_lib_window *window, uint64_t offset,
				    uint8_t byte, uint32_t size, uint8_t *found)
{
	const struct zcrx_emu_memory *memory = window->memory;
	uint8_t bytes[PIECE];

	if (window->here)
		return find_other(window->here + offset, byte, size, found);
	for (uint32_t done = 0; done < size; done += PIECE) {
		uint32_t at;

		if (memory->read(memory->context, bytes, window->at + offset + done, PIECE))
			return size;
		at = find_other(bytes, byte, PIECE, found);
		if (at < PIECE)
			return done + at;
	}
	return size;
}
