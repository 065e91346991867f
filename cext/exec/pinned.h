/* SPDX-License-Identifier: MIT */
/*
 * Memory of the program that was registered. The kernel pins its pages, and goes on writing into
 * them whatever the program maps in their place; we have its addresses only. So it is looked
 * at before each access whether what stands there is what was registered: a new mapping
 * is never touched on the old one's account. Private memory is known by its pages, which were
 * there from the registration on and cannot be missing but in a new mapping (or where the program
 * gave them away: the kernel's are others then, too); shared memory by its file.
 *
 * Not told from the old one is private memory that was mapped anew at the very place, and
 * touched by the program, all of it, before the next access.
 */
#ifndef EXEC_PINNED_H
#define EXEC_PINNED_H

#include "space.h"

/* Functions of struct zcrx_emu_memory, as those of space.h: the context is the space. */
int pinned_read(void *context, void *to, uint64_t from, size_t size);
int pinned_write(void *context, uint64_t to, const void *from, size_t size);
int pinned_read_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count);
int pinned_write_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count);
int pinned_pin(void *context, uint64_t address, uint64_t size);

/* Is all of what was pinned from this address on still there? */
bool pinned_is_there(struct space *space, uint64_t address);
/* The space ends. */
void pinned_free(struct space *space);

#endif /* EXEC_PINNED_H */
