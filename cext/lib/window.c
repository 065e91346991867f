/* SPDX-License-Identifier: MIT */
#include "window.h"

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

uint32_t zcrx_lib_window_load_far(const struct zcrx_lib_window *window, uint32_t offset,
				  uint32_t otherwise)
{
	const struct zcrx_emu_memory *memory = window->memory;
	uint32_t value;

	if (memory->read(memory->context, &value, window->at + offset, sizeof(value)))
		return otherwise;
	return value;
}

bool zcrx_lib_window_store_far(const struct zcrx_lib_window *window, uint32_t offset,
			       uint32_t value)
{
	const struct zcrx_emu_memory *memory = window->memory;

	return memory->write(memory->context, window->at + offset, &value, sizeof(value)) == 0;
}

bool zcrx_lib_window_read_far(const struct zcrx_lib_window *window, uint64_t offset,
			      uint64_t *words, uint32_t count)
{
	const struct zcrx_emu_memory *memory = window->memory;

	return memory->read(memory->context, words, window->at + offset, count * sizeof(*words)) ==
	       0;
}

bool zcrx_lib_window_write_far(const struct zcrx_lib_window *window, uint64_t offset,
			       const uint64_t *words, uint32_t count)
{
	const struct zcrx_emu_memory *memory = window->memory;

	return memory->write(memory->context, window->at + offset, words, count * sizeof(*words)) ==
	       0;
}

bool zcrx_lib_window_put_far(const struct zcrx_lib_window *window, uint64_t offset,
			     const void *bytes, uint32_t size)
{
	const struct zcrx_emu_memory *memory = window->memory;

	return memory->write(memory->context, window->at + offset, bytes, size) == 0;
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
		if (!zcrx_lib_window_put_far(window, offset + done, bytes, PIECE))
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
