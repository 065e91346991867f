/* SPDX-License-Identifier: MIT */
/*
 * The memory of a process of the program, by address: read and written with the kernel's own
 * calls, which check each address as they use it. A space is one address space: what the
 * process becomes by exec() is another one, and nothing is written there on its account.
 */
#ifndef EXEC_SPACE_H
#define EXEC_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/zcrx_emu.h"

struct pinned;

struct space {
	struct space *next;
	pid_t pid; /* of the process (not of a thread) */
	bool is_frozen; /* nothing is written */
	uint64_t landmark; /* something was read there: a look that finds memory is a short one */
	uint64_t seen_alive; /* when, by now_ns() */
	int memory; /* its /proc/PID/mem: this one's only */
	int pages; /* its /proc/PID/pagemap; -1: not needed yet */
	struct pinned *pinned; /* what was registered, youngest first: see pinned.h */
};

/* Of the process that the thread belongs to. NULL, and errno says why. */
struct space *space_open(pid_t pid, pid_t tid);
void space_close(struct space *space);
/* It is known to be dead: what is left is an address that nothing is written to. */
void space_bury(struct space *space);
/* Whether anything is written. */
void space_freeze(struct space *space, bool is_frozen);
/* Is it still the memory of its process? */
bool space_is_alive(const struct space *space);
/*
 * Was it a moment ago? Between a look and what is done next the process may become another one
 * anyway, and what it becomes takes longer than that moment until it has memory, or calls us.
 */
bool space_was_alive(struct space *space);

/* These are functions of struct zcrx_emu_memory: the context is the space. 0 or -EFAULT. */
int space_read(void *context, void *to, uint64_t from, size_t size);
int space_write(void *context, uint64_t to, const void *from, size_t size);
/* The same of pinned memory: nobody looks there to see whether the space is alive. */
int space_peek(struct space *space, void *to, uint64_t from, size_t size);
/* Up to ZCRX_EMU_PIECES_MAX. */
int space_read_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count);
int space_write_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count);
/* Is all of it mapped, and may be written? Its contents are not touched. */
int space_pin(void *context, uint64_t address, uint64_t size);

#endif /* EXEC_SPACE_H */
