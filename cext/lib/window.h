/* SPDX-License-Identifier: MIT */
/*
 * A stretch of the program's memory that both sides go on using: mapped in this process, or
 * reached by the functions that the program's memory is behind.
 */
#ifndef ZCRX_LIB_WINDOW_H
#define ZCRX_LIB_WINDOW_H

#include <stdbool.h>
#include <string.h>

#include "wire/shm.h"
#include "zcrx_emu.h"

struct zcrx_lib_window {
	const struct zcrx_emu_memory *memory;
	uint64_t at; /* in the program */
	uint8_t *here; /* NULL: not mapped */
};

/* The program's `size` bytes at `at`, mapped if they can be. */
struct zcrx_lib_window zcrx_lib_window_of(const struct zcrx_emu_memory *memory, uint64_t at,
					  uint64_t size);
/* Our own memory, as if it were the program's. */
struct zcrx_lib_window zcrx_lib_window_on(void *here);
static inline bool zcrx_lib_window_is_open(const struct zcrx_lib_window *window)
{
	return window->here || window->at;
}

/* ---- where it is not mapped: by the functions ------------------------------------------- */

uint32_t zcrx_lib_window_load_far(const struct zcrx_lib_window *window, uint32_t offset,
				  uint32_t otherwise);
bool zcrx_lib_window_store_far(const struct zcrx_lib_window *window, uint32_t offset,
			       uint32_t value);
bool zcrx_lib_window_read_far(const struct zcrx_lib_window *window, uint64_t offset,
			      uint64_t *words, uint32_t count);
bool zcrx_lib_window_write_far(const struct zcrx_lib_window *window, uint64_t offset,
			       const uint64_t *words, uint32_t count);

/* ---- words that both sides are at --------------------------------------------------------- */

/*
 * A word of the program's; `otherwise` where there is no memory any more.
 *
 * Ordering: pairs with the releases in zcrx_rq_user_publish() and zcrx_cq_user_release(), or
 * the program's own.
 */
static inline uint32_t zcrx_lib_window_load(const struct zcrx_lib_window *window, uint32_t offset,
					    uint32_t otherwise)
{
	if (!window->here)
		return zcrx_lib_window_load_far(window, offset, otherwise);
	return shm_load_acquire_u32((shm_u32 *)(void *)(window->here + offset), POINT_RQ_TAIL_LOAD);
}

/*
 * A word of ours; false where there is no memory any more.
 *
 * Ordering: pairs with the acquires in zcrx_rq_user_room() and zcrx_cq_user_available(), or
 * the program's own.
 */
static inline bool zcrx_lib_window_store(const struct zcrx_lib_window *window, uint32_t offset,
					 uint32_t value)
{
	if (!window->here)
		return zcrx_lib_window_store_far(window, offset, value);
	shm_store_release_u32((shm_u32 *)(void *)(window->here + offset), value,
			      POINT_RQ_HEAD_STORE);
	return true;
}

/* Words that the other one may be writing or reading right now, each once. */
static inline bool zcrx_lib_window_read(const struct zcrx_lib_window *window, uint64_t offset,
					uint64_t *words, uint32_t count)
{
	shm_u64 *from;

	if (!window->here)
		return zcrx_lib_window_read_far(window, offset, words, count);
	from = (shm_u64 *)(void *)(window->here + offset);
	for (uint32_t i = 0; i < count; i++)
		words[i] = shm_load_relaxed_u64(&from[i], POINT_RQE_LOAD);
	return true;
}

static inline bool zcrx_lib_window_write(const struct zcrx_lib_window *window, uint64_t offset,
					 const uint64_t *words, uint32_t count)
{
	shm_u64 *to;

	if (!window->here)
		return zcrx_lib_window_write_far(window, offset, words, count);
	to = (shm_u64 *)(void *)(window->here + offset);
	for (uint32_t i = 0; i < count; i++)
		shm_store_relaxed_u64(&to[i], words[i], POINT_CQE_STORE);
	return true;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

bool zcrx_lib_window_put_far(const struct zcrx_lib_window *window, uint64_t offset,
			     const void *bytes, uint32_t size);

/* Bytes that nobody else is at. */
static inline bool zcrx_lib_window_put(const struct zcrx_lib_window *window, uint64_t offset,
				       const void *bytes, uint32_t size)
{
	if (!window->here)
		return zcrx_lib_window_put_far(window, offset, bytes, size);
	memcpy(window->here + offset, bytes, size);
	return true;
}

bool zcrx_lib_window_set(const struct zcrx_lib_window *window, uint64_t offset, uint8_t byte,
			 uint32_t size);
/* Where the first byte is that is another one, and which; `size`: nowhere, or no memory is there. */
uint32_t zcrx_lib_window_find_other(const struct zcrx_lib_window *window, uint64_t offset,
				    uint8_t byte, uint32_t size, uint8_t *found);

#endif /* ZCRX_LIB_WINDOW_H */
