/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

struct space *space_open(pid_t pid)
{
	struct space *space = calloc(1, sizeof(*space));
	char path[32];

	if (!space)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	space->pid = pid;
	space->memory = open(path, O_RDONLY | O_CLOEXEC);
	if (space->memory < 0) {
		free(space);
		return NULL;
	}
	return space;
}

void space_bury(struct space *space)
{
	if (space->memory >= 0)
		close(space->memory);
	space->memory = -1;
	free(space->pieces);
	space->pieces = NULL;
}

void space_close(struct space *space)
{
	space_bury(space);
	free(space);
}

void space_freeze(struct space *space, bool is_frozen)
{
	space->is_frozen = is_frozen;
}

/* Of memory that is nobody's any more there is an end; of an address without memory, an error. */
bool space_is_alive(const struct space *space)
{
	char byte;

	return space->memory >= 0 && pread(space->memory, &byte, 1, 0) != 0;
}

int space_read(void *context, void *to, uint64_t from, size_t size)
{
	const struct space *space = context;
	struct iovec ours = {to, size}, theirs = {(void *)(uintptr_t)from, size};

	if (!space_is_alive(space) ||
	    process_vm_readv(space->pid, &ours, 1, &theirs, 1, 0) != (ssize_t)size)
		return -EFAULT;
	return 0;
}

static int write_pieces(const struct space *space, const struct iovec *ours,
			const struct iovec *theirs, unsigned int count, size_t size)
{
	if (space->is_frozen || !space_is_alive(space) ||
	    process_vm_writev(space->pid, ours, count, theirs, count, 0) != (ssize_t)size)
		return -EFAULT;
	return 0;
}

/* True: it was put off. */
static bool put_off(struct space_pieces *pieces, uint64_t to, const void *from, size_t size)
{
	const uint8_t *bytes = from;

	if (!pieces || !pieces->from || bytes < pieces->from ||
	    bytes >= pieces->from + pieces->size || pieces->count == SPACE_PIECES_MAX)
		return false;
	pieces->ours[pieces->count] = (struct iovec){(void *)(uintptr_t)from, size};
	pieces->theirs[pieces->count] = (struct iovec){(void *)(uintptr_t)to, size};
	pieces->count++;
	pieces->bytes += size;
	return true;
}

int space_write(void *context, uint64_t to, const void *from, size_t size)
{
	struct space *space = context;
	struct iovec ours = {(void *)(uintptr_t)from, size}, theirs = {(void *)(uintptr_t)to, size};

	if (put_off(space->pieces, to, from, size))
		return 0;
	return write_pieces(space, &ours, &theirs, 1, size);
}

void space_gather(struct space *space, const void *from, size_t size)
{
	if (!space->pieces)
		space->pieces = calloc(1, sizeof(*space->pieces));
	/* Without memory for it each write is a call of its own. */
	if (!space->pieces)
		return;
	space->pieces->from = from;
	space->pieces->size = size;
	space->pieces->count = 0;
	space->pieces->bytes = 0;
}

int space_scatter(struct space *space)
{
	struct space_pieces *pieces = space->pieces;

	if (!pieces)
		return 0;
	pieces->from = NULL;
	if (pieces->count == 0)
		return 0;
	return write_pieces(space, pieces->ours, pieces->theirs, pieces->count, pieces->bytes);
}

/* The file lists what is mapped in the order of addresses. */
static bool is_covered(FILE *maps, uint64_t from, uint64_t end)
{
	char line[512], rights[8];
	unsigned long long first, behind;

	while (from < end && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx %7s", &first, &behind, rights) != 3 || behind <= from)
			continue;
		if (first > from || rights[1] != 'w')
			return false;
		from = behind;
	}
	return from >= end;
}

int space_pin(void *context, uint64_t address, uint64_t size)
{
	const struct space *space = context;
	char path[32];
	FILE *maps;
	bool is_there;

	snprintf(path, sizeof(path), "/proc/%d/maps", space->pid);
	maps = fopen(path, "re");
	if (!maps)
		return -EFAULT;
	is_there = is_covered(maps, address, address + size);
	fclose(maps);
	return is_there ? 0 : -EFAULT;
}
