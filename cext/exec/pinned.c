/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pinned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "watch.h"

#define PAGE 4096U
#define HERE (3ULL << 62) /* of an entry of pagemap: the page is present, or swapped out */

#define LOOKS_MAX 4U /* pages that are looked at before an access */
#define SEEN_NS 1000000U /* how long what was seen of a file is believed */
#define KEPT_MAX 256U /* of a space: the oldest one is forgotten */

struct pinned {
	struct pinned *next;
	uint64_t at, size;
	uint64_t file; /* which stands behind it, in which order; 0: it is private */
	uint64_t seen; /* when its file was looked at last */
	bool is_gone; /* once, and for good */
};

/* ---- what stands there --------------------------------------------------------------------- */

static uint64_t mixed(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * 0x9e3779b97f4a7c15U;
}

/* The files behind a stretch of memory in one number; 0: none is behind any of it. */
static uint64_t files_of(const struct space *space, uint64_t at, uint64_t end)
{
	unsigned long long first, behind, offset, inode;
	unsigned int major, minor;
	char path[32], line[512];
	uint64_t sum = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", space->pid);
	maps = fopen(path, "re");
	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%llx-%llx %*s %llx %x:%x %llu", &first, &behind, &offset, &major,
			   &minor, &inode) != 6 ||
		    behind <= at || first >= end || inode == 0)
			continue;
		/* Where the file would begin: the same for all of it, however it is cut. */
		sum = mixed(mixed(sum, inode), first - offset);
		sum = mixed(sum, (uint64_t)major << 32 | minor) | 1;
	}
	if (maps)
		fclose(maps);
	return sum;
}

/* The first byte of each page is read, so that the page is there; none is changed. */
static void touch(struct space *space, uint64_t at, uint64_t size)
{
	struct zcrx_emu_piece pieces[ZCRX_EMU_PIECES_MAX];
	uint8_t byte;

	for (uint64_t done = 0; done < size;) {
		uint32_t count = 0;

		for (; done < size && count < ZCRX_EMU_PIECES_MAX; done += PAGE)
			pieces[count++] = (struct zcrx_emu_piece){&byte, at + done, 1};
		space_read_pieces(space, pieces, count);
	}
}

/*
 * Of a process that is another program by now there is an end. Where nobody may look, or a kernel
 * has no pagemap, all is taken to be there.
 */
static bool has_page(const struct space *space, uint64_t address)
{
	uint64_t entry;
	ssize_t size =
		pread(space->pages, &entry, sizeof(entry), (off_t)(address / PAGE * sizeof(entry)));

	return size == sizeof(entry) ? (entry & HERE) != 0 : size != 0;
}

/* ---- what was pinned -------------------------------------------------------------------------- */

static struct pinned *find(const struct space *space, uint64_t address)
{
	struct pinned *pinned = space->pinned;

	while (pinned && address - pinned->at >= pinned->size)
		pinned = pinned->next;
	return pinned;
}

/* What is pinned anew there takes the place of what was. */
static void forget(struct space *space, uint64_t at, uint64_t size)
{
	struct pinned **link = &space->pinned;
	uint32_t count = 1;

	while (*link) {
		struct pinned *pinned = *link;

		if (pinned->at < at + size && at < pinned->at + pinned->size) {
			*link = pinned->next;
			free(pinned);
		} else if (++count > KEPT_MAX) {
			*link = pinned->next;
			free(pinned);
		} else {
			link = &pinned->next;
		}
	}
}

static void open_pages(struct space *space)
{
	char path[32];

	if (space->pages >= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", space->pid);
	space->pages = open(path, O_RDONLY | O_CLOEXEC);
}

int pinned_pin(void *context, uint64_t address, uint64_t size)
{
	struct space *space = context;
	int error = space_pin(space, address, size);
	struct pinned *pinned;

	if (error)
		return error;
	open_pages(space);
	forget(space, address, size);
	pinned = calloc(1, sizeof(*pinned));
	if (!pinned)
		return -ENOMEM;
	pinned->at = address;
	pinned->size = size;
	pinned->file = files_of(space, address, address + size);
	if (pinned->file == 0)
		touch(space, address, size);
	pinned->next = space->pinned;
	space->pinned = pinned;
	return 0;
}

/* To ask for it takes as long as to copy a dozen pages: not each time. */
static bool has_file(const struct space *space, struct pinned *pinned)
{
	uint64_t now = now_ns();

	if (now - pinned->seen < SEEN_NS)
		return true;
	pinned->seen = now;
	if (pinned->file != files_of(space, pinned->at, pinned->at + pinned->size))
		pinned->is_gone = true;
	return !pinned->is_gone;
}

/* A few pages of it, from the first to the last. */
static bool is_there(const struct space *space, struct pinned *pinned, uint64_t at, uint64_t size)
{
	uint64_t stride = size / LOOKS_MAX > PAGE ? size / LOOKS_MAX : PAGE;

	if (pinned->is_gone || (pinned->file && !has_file(space, pinned)))
		return false;
	if (pinned->file)
		return true;
	for (uint64_t done = 0; done < size; done += stride) {
		if (!has_page(space, at + done))
			pinned->is_gone = true;
	}
	if (size > PAGE && !has_page(space, at + size - 1))
		pinned->is_gone = true;
	return !pinned->is_gone;
}

/* The pieces of an access: the first of each stretch that was pinned, and some of many. */
static bool are_there(const struct space *space, const struct zcrx_emu_piece *pieces,
		      uint32_t count)
{
	uint32_t stride = count > LOOKS_MAX ? count / LOOKS_MAX : 1;
	const struct pinned *before = NULL;

	for (uint32_t i = 0; i < count; i++) {
		struct pinned *pinned = find(space, pieces[i].there);
		/* Of a file all was looked at. */
		bool is_looked_at = pinned && pinned == before && (pinned->file || i % stride);

		before = pinned;
		if (pinned && !is_looked_at &&
		    !is_there(space, pinned, pieces[i].there, pieces[i].size))
			return false;
	}
	return true;
}

bool pinned_is_there(struct space *space, uint64_t address)
{
	struct pinned *pinned = find(space, address);

	if (pinned)
		pinned->seen = 0;
	return !pinned || (space_pin(space, pinned->at, pinned->size) == 0 &&
			   is_there(space, pinned, pinned->at, pinned->size));
}

void pinned_free(struct space *space)
{
	while (space->pinned) {
		struct pinned *pinned = space->pinned;

		space->pinned = pinned->next;
		free(pinned);
	}
}

/* ---- access ------------------------------------------------------------------------------------- */

int pinned_read(void *context, void *to, uint64_t from, size_t size)
{
	const struct zcrx_emu_piece piece = {to, from, size};

	return are_there(context, &piece, 1) ? space_peek(context, to, from, size) : -EFAULT;
}

int pinned_write(void *context, uint64_t to, const void *from, size_t size)
{
	const struct zcrx_emu_piece piece = {(void *)(uintptr_t)from, to, size};

	return are_there(context, &piece, 1) ? space_write(context, to, from, size) : -EFAULT;
}

int pinned_read_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	return are_there(context, pieces, count) ? space_read_pieces(context, pieces, count) :
						   -EFAULT;
}

int pinned_write_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	return are_there(context, pieces, count) ? space_write_pieces(context, pieces, count) :
						   -EFAULT;
}
