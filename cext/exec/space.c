/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "space.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "watch.h"

#define MOMENT_NS 20000U

struct space *space_open(pid_t pid, pid_t tid)
{
	struct space *space = calloc(1, sizeof(*space));
	char path[32];

	if (!space)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/mem", tid);
	space->pid = pid;
	space->pages = -1;
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
	if (space->pages >= 0)
		close(space->pages);
	space->memory = space->pages = -1;
	space->seen_alive = 0;
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

	return space->memory >= 0 && pread(space->memory, &byte, 1, (off_t)space->landmark) != 0;
}

bool space_was_alive(struct space *space)
{
	uint64_t now = now_ns();

	if (now - space->seen_alive < MOMENT_NS)
		return true;
	if (!space_is_alive(space))
		return false;
	space->seen_alive = now;
	return true;
}

/* Any thread but the first. Without one there is no such process. */
static pid_t other_thread(pid_t pid)
{
	const struct dirent *entry;
	pid_t found = pid;
	char path[32];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	threads = opendir(path);
	while (threads && found == pid && (entry = readdir(threads))) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid)
			found = tid;
	}
	if (threads)
		closedir(threads);
	return found;
}

/* process_vm_readv() or process_vm_writev() */
typedef ssize_t vm_call(pid_t pid, const struct iovec *ours, unsigned long our_count,
			const struct iovec *theirs, unsigned long their_count, unsigned long flags);

/* A process whose first thread has ended is reached by another one: those have the same memory. */
static bool move(struct space *space, vm_call *call, const struct iovec *ours, uint32_t our_count,
		 const struct iovec *theirs, uint32_t their_count, size_t size)
{
	ssize_t moved;

	if (!space_was_alive(space))
		return false;
	moved = call(space->pid, ours, our_count, theirs, their_count, 0);
	if (moved < 0 && errno == ESRCH)
		moved = call(other_thread(space->pid), ours, our_count, theirs, their_count, 0);
	return moved == (ssize_t)size;
}

int space_peek(struct space *space, void *to, uint64_t from, size_t size)
{
	struct iovec ours = {to, size}, theirs = {(void *)(uintptr_t)from, size};

	if (!move(space, process_vm_readv, &ours, 1, &theirs, 1, size))
		return -EFAULT;
	return 0;
}

int space_read(void *context, void *to, uint64_t from, size_t size)
{
	struct space *space = context;
	int error = space_peek(space, to, from, size);

	if (!error)
		space->landmark = from;
	return error;
}

int space_write(void *context, uint64_t to, const void *from, size_t size)
{
	const struct zcrx_emu_piece piece = {(void *)(uintptr_t)from, to, size};

	return space_write_pieces(context, &piece, 1);
}

/* Pieces as the kernel has them, where those that lie side by side in the program are one. */
struct vectors {
	struct iovec ours[ZCRX_EMU_PIECES_MAX], theirs[ZCRX_EMU_PIECES_MAX];
	uint32_t count, merged;
	size_t size;
};

static bool goes_on(const struct vectors *vectors, const struct zcrx_emu_piece *piece)
{
	const struct iovec *last = &vectors->theirs[vectors->merged - 1];

	return (uint64_t)(uintptr_t)last->iov_base + last->iov_len == piece->there;
}

static void append(struct vectors *vectors, const struct zcrx_emu_piece *piece)
{
	vectors->ours[vectors->count++] = (struct iovec){piece->here, piece->size};
	vectors->size += piece->size;
	if (vectors->merged && goes_on(vectors, piece))
		vectors->theirs[vectors->merged - 1].iov_len += piece->size;
	else
		vectors->theirs[vectors->merged++] =
			(struct iovec){(void *)(uintptr_t)piece->there, piece->size};
}

/* Buffers are taken from a stack: often the last one lies first. */
static void gather(struct vectors *vectors, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	bool is_reversed = count > 1 && pieces[1].there < pieces[0].there;

	vectors->count = vectors->merged = 0;
	vectors->size = 0;
	for (uint32_t i = 0; i < count; i++)
		append(vectors, &pieces[is_reversed ? count - 1 - i : i]);
}

int space_read_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	struct vectors all;

	gather(&all, pieces, count);
	return move(context, process_vm_readv, all.ours, all.count, all.theirs, all.merged,
		    all.size) ?
		       0 :
		       -EFAULT;
}

int space_write_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	struct space *space = context;
	struct vectors all;

	gather(&all, pieces, count);
	if (space->is_frozen ||
	    !move(space, process_vm_writev, all.ours, all.count, all.theirs, all.merged, all.size))
		return -EFAULT;
	return 0;
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

static FILE *open_maps(pid_t tid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/maps", tid);
	return fopen(path, "re");
}

int space_pin(void *context, uint64_t address, uint64_t size)
{
	const struct space *space = context;
	FILE *maps = open_maps(space->pid);
	bool is_there;
	int first;

	if (!maps)
		return -EFAULT;
	first = fgetc(maps);
	if (first == EOF) { /* of a first thread that has ended */
		fclose(maps);
		maps = open_maps(other_thread(space->pid));
		if (!maps)
			return -EFAULT;
	} else {
		ungetc(first, maps);
	}
	is_there = is_covered(maps, address, address + size);
	fclose(maps);
	return is_there ? 0 : -EFAULT;
}
