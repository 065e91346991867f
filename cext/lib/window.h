/* SPDX-License-Identifier: MIT */
/*
 * A stretch of the program's memory that both sides go on using: mapped in this process, or
 * reached by the functions that the program's memory is behind.
 */
#ifndef ZCRX_LIB_WINDOW_H
#define ZCRX_LIB_WINDOW_H

#include <stdbool.h>

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

/* A word of the program's; `otherwise` where there is no memory any more. */
uint32_t zcrx_lib_window_load(const struct zcrx_lib_window *window, uint32_t offset,
			      uint32_t otherwise);
/* A word of ours; false where there is no memory any more. */
bool zcrx_lib_window_store(const struct zcrx_lib_window *window, uint32_t offset, uint32_t value);
/* Words that the other one may be writing or reading right now, each once. */
bool zcrx_lib_window_read(const struct zcrx_lib_window *window, uint64_t offset, uint64_t *words,
			  uint32_t count);
bool zcrx_lib_window_write(const struct zcrx_lib_window *window, uint64_t offset,
			   const uint64_t *words, uint32_t count);
/* Bytes that nobody else is at. */
bool zcrx_lib_window_put(const struct zcrx_lib_window *window, uint64_t offset, const void *bytes,
			 uint32_t size);
bool zcrx_lib_window_set(const struct zcrx_lib_window *window, uint64_t offset, uint8_t byte,
			 uint32_t size);
/* Where the first byte is that is another one, and which; `size`: nowhere, or no memory is there. */
uint32_t zcrx_lib_window_find_other(const struct zcrx_lib_window *window, uint64_t offset,
				    uint8_t byte, uint32_t size, uint8_t *found);

#endif /* ZCRX_LIB_WINDOW_H */
