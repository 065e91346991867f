/* SPDX-License-Identifier: MIT */
/*
 * Pieces of the program's memory that are read or written together, where it is reached by
 * functions and these can do many at once: a call of theirs may cost more than its bytes do.
 */
#ifndef ZCRX_LIB_BATCH_H
#define ZCRX_LIB_BATCH_H

#include "window.h"

struct zcrx_lib_batch {
	const struct zcrx_emu_memory *memory; /* of all its pieces */
	uint32_t count;
	struct zcrx_emu_piece pieces[ZCRX_EMU_PIECES_MAX];
};

/* Can what is in this window be read and written so? */
static inline bool zcrx_lib_batch_suits(const struct zcrx_lib_window *window)
{
	return !window->here && window->memory->read_pieces && window->memory->write_pieces;
}

/* Is there room for one more piece of that window? Else the batch is to be done first. */
static inline bool zcrx_lib_batch_has_room(const struct zcrx_lib_batch *batch,
					   const struct zcrx_lib_window *window)
{
	return batch->count == 0 ||
	       (batch->count < ZCRX_EMU_PIECES_MAX && batch->memory == window->memory);
}

/* One more: there is room. `here` stays as it is until the batch is done. */
static inline void zcrx_lib_batch_add(struct zcrx_lib_batch *batch,
				      const struct zcrx_lib_window *window, uint64_t offset,
				      void *here, uint32_t size)
{
	batch->memory = window->memory;
	batch->pieces[batch->count++] = (struct zcrx_emu_piece){
		.here = here,
		.there = window->at + offset,
		.size = size,
	};
}

/* Both do all that was added, and forget it. False: not all could be. */
static inline bool zcrx_lib_batch_read(struct zcrx_lib_batch *batch)
{
	const struct zcrx_emu_memory *memory = batch->memory;
	uint32_t count = batch->count;

	batch->count = 0;
	return count == 0 || memory->read_pieces(memory->context, batch->pieces, count) == 0;
}

static inline bool zcrx_lib_batch_write(struct zcrx_lib_batch *batch)
{
	const struct zcrx_emu_memory *memory = batch->memory;
	uint32_t count = batch->count;

	batch->count = 0;
	return count == 0 || memory->write_pieces(memory->context, batch->pieces, count) == 0;
}

#endif /* ZCRX_LIB_BATCH_H */
