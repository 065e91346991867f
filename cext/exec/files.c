/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "briefly.h"
#include "space.h"

#define FILES_MAX (1U << 20)

struct file_slot {
	int fd; /* ours; -1: empty */
	uint64_t tag; /* of the completion that tells that it was emptied; 0: none does */
};

struct files {
	uint32_t count;
	uint32_t first, end; /* where a free one is looked for */
	uint32_t next; /* and from where on: the kernel's choice is this one */
	struct file_slot slots[];
};

/* ---- slots ------------------------------------------------------------------------------------ */

static struct file_slot *slot_of(const struct ring *ring, uint32_t slot)
{
	return ring->files && slot < ring->files->count ? &ring->files->slots[slot] : NULL;
}

static void empty(struct ring *ring, struct file_slot *slot)
{
	uint64_t tag = slot->tag;

	if (slot->fd >= 0) {
		briefly_close(slot->fd);
		ring->files->next = (uint32_t)(slot - ring->files->slots);
	}
	*slot = (struct file_slot){.fd = -1};
	if (tag)
		ring_post(ring, tag, 0, 0);
}

int files_fetch(const struct ring *ring, uint32_t number)
{
	const struct file_slot *slot = slot_of(ring, number);
	int copy;

	if (!slot || slot->fd < 0)
		return -EBADF;
	copy = fcntl(slot->fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

/* The next one that is free, round the range. -1: none is. */
static int64_t find_free(const struct files *files)
{
	uint32_t range = files->end - files->first;
	bool is_within = files->next >= files->first && files->next < files->end;
	uint32_t start = is_within ? files->next - files->first : 0;

	for (uint32_t i = 0; i < range; i++) {
		uint32_t slot = files->first + (start + i) % range;

		if (files->slots[slot].fd < 0)
			return slot;
	}
	return -1;
}

static int put(struct ring *ring, uint32_t file_index, int fd)
{
	struct files *files = ring->files;
	bool chooses = file_index == IORING_FILE_INDEX_ALLOC;
	int64_t slot = file_index - 1;

	if (!files)
		return -ENXIO;
	if (!chooses && slot >= files->count)
		return -EINVAL;
	if (chooses && (slot = find_free(files)) < 0)
		return -ENFILE;
	empty(ring, &files->slots[slot]);
	files->slots[slot].fd = fd;
	files->next = (uint32_t)slot + 1;
	return chooses ? (int)slot : 0;
}

int files_put(struct ring *ring, uint32_t file_index, int fd)
{
	/* A ring in a ring's own table would never be closed. */
	int result = ring_of_file(ring->kernel, fd) ? -EBADF : put(ring, file_index, fd);

	if (result < 0)
		briefly_close(fd);
	return result;
}

int files_remove(struct ring *ring, uint32_t number)
{
	struct file_slot *slot = slot_of(ring, number);

	if (!ring->files)
		return -ENXIO;
	if (!slot)
		return -EINVAL;
	if (slot->fd < 0)
		return -EBADF;
	empty(ring, slot);
	return 0;
}

void files_free(struct ring *ring)
{
	for (uint32_t i = 0; ring->files && i < ring->files->count; i++) {
		if (ring->files->slots[i].fd >= 0)
			briefly_close(ring->files->slots[i].fd);
	}
	free(ring->files);
	ring->files = NULL;
}

/* ---- from the program's descriptors --------------------------------------------------------------- */

/* The `i`-th of an array of the program: 0 or -EFAULT. No array: there is nothing in any place. */
static int read_fd(const struct ring *ring, uint64_t fds_at, uint32_t i, int *fd)
{
	*fd = -1;
	return fds_at && space_read(ring->kernel->task->space, fd, fds_at + i * sizeof(*fd),
				    sizeof(*fd)) ?
		       -EFAULT :
		       0;
}

static int read_tag(const struct ring *ring, uint64_t tags_at, uint32_t i, uint64_t *tag)
{
	*tag = 0;
	return tags_at && space_read(ring->kernel->task->space, tag, tags_at + i * sizeof(*tag),
				     sizeof(*tag)) ?
		       -EFAULT :
		       0;
}

static int update_slot(struct ring *ring, uint32_t number, int fd, uint64_t tag)
{
	struct file_slot *slot = &ring->files->slots[number];
	int result = 0;

	if (tag && (fd == -1 || fd == IORING_REGISTER_FILES_SKIP))
		return -EINVAL;
	if (fd == IORING_REGISTER_FILES_SKIP)
		return 0;
	empty(ring, slot);
	if (fd == -1)
		return 0;
	fd = task_fetch(ring->kernel->task, fd);
	if (fd < 0)
		return fd;
	result = files_put(ring, number + 1, fd);
	if (!result)
		slot->tag = tag;
	return result;
}

/* How many were; fewer than `count` by `error`. */
static uint32_t update_slots(struct ring *ring, uint32_t first, uint64_t fds_at, uint64_t tags_at,
			     uint32_t count, int *error)
{
	uint32_t done = 0;

	*error = 0;
	while (!*error && done < count) {
		uint64_t tag;
		int fd;

		*error = read_fd(ring, fds_at, done, &fd);
		if (!*error)
			*error = read_tag(ring, tags_at, done, &tag);
		if (!*error)
			*error = update_slot(ring, first + done, fd, tag);
		done += !*error;
	}
	return done;
}

static int64_t update(struct ring *ring, uint32_t first, uint64_t fds_at, uint64_t tags_at,
		      uint32_t count)
{
	uint32_t done;
	int error;

	if (first + count < first)
		return -EOVERFLOW;
	if (!ring->files)
		return -ENXIO;
	if (first + count > ring->files->count)
		return -EINVAL;
	done = update_slots(ring, first, fds_at, tags_at, count, &error);
	return done ? (int64_t)done : error;
}

int64_t files_update(struct ring *ring, uint32_t slot, uint64_t fds_at, uint32_t count)
{
	return update(ring, slot, fds_at, 0, count);
}

static int put_anywhere(struct ring *ring, uint64_t fd_at)
{
	struct space *space = ring->kernel->task->space;
	int fd, slot;

	if (space_read(space, &fd, fd_at, sizeof(fd)))
		return -EFAULT;
	fd = task_fetch(ring->kernel->task, fd);
	if (fd < 0)
		return fd;
	slot = files_put(ring, IORING_FILE_INDEX_ALLOC, fd);
	if (slot < 0)
		return slot;
	if (!space_write(space, fd_at, &slot, sizeof(slot)))
		return 0;
	files_remove(ring, (uint32_t)slot);
	return -EFAULT;
}

int64_t files_update_anywhere(struct ring *ring, uint64_t fds_at, uint32_t count)
{
	uint32_t done = 0;
	int error = ring->files ? 0 : -ENXIO;

	while (!error && done < count) {
		error = put_anywhere(ring, fds_at + done * sizeof(int));
		done += !error;
	}
	return done ? (int64_t)done : error;
}

/* ---- calls ------------------------------------------------------------------------------------ */

static bool is_too_many(const struct ring *ring, uint32_t count)
{
	struct rlimit limit;

	if (count > FILES_MAX)
		return true;
	return prlimit(ring->kernel->task->tgid, RLIMIT_NOFILE, NULL, &limit) == 0 &&
	       count > limit.rlim_cur;
}

static int64_t create(struct ring *ring, uint64_t fds_at, uint64_t tags_at, uint32_t count)
{
	int error;

	if (ring->files)
		return -EBUSY;
	if (count == 0)
		return -EINVAL;
	if (is_too_many(ring, count))
		return -EMFILE;
	ring->files = calloc(1, sizeof(*ring->files) + count * sizeof(ring->files->slots[0]));
	if (!ring->files)
		return -ENOMEM;
	ring->files->count = ring->files->end = count;
	for (uint32_t i = 0; i < count; i++)
		ring->files->slots[i].fd = -1;
	if (!fds_at && !tags_at)
		return 0;
	update_slots(ring, 0, fds_at, tags_at, count, &error);
	/* All or none, and of those that were not kept nothing is told. */
	if (error)
		files_free(ring);
	return error;
}

static int64_t create_tagged(struct ring *ring, uint64_t at, uint32_t size)
{
	struct io_uring_rsrc_register asked;

	if (size != sizeof(asked))
		return -EINVAL;
	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	if (asked.nr == 0 || asked.resv2 || asked.flags & ~IORING_RSRC_REGISTER_SPARSE)
		return -EINVAL;
	if (asked.flags & IORING_RSRC_REGISTER_SPARSE && asked.data)
		return -EINVAL;
	return create(ring, asked.data, asked.tags, asked.nr);
}

static int64_t update_plain(struct ring *ring, uint64_t at, uint32_t count)
{
	struct io_uring_rsrc_update asked;

	if (count == 0)
		return -EINVAL;
	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	return asked.resv ? -EINVAL : update(ring, asked.offset, asked.data, 0, count);
}

static int64_t update_tagged(struct ring *ring, uint64_t at, uint32_t size)
{
	struct io_uring_rsrc_update2 asked;

	if (size != sizeof(asked))
		return -EINVAL;
	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	if (asked.nr == 0 || asked.resv || asked.resv2)
		return -EINVAL;
	return update(ring, asked.offset, asked.data, asked.tags, asked.nr);
}

static int64_t destroy(struct ring *ring)
{
	struct files *files = ring->files;

	if (!files)
		return -ENXIO;
	for (uint32_t i = 0; i < files->count; i++)
		empty(ring, &files->slots[i]);
	files_free(ring);
	return 0;
}

/* Where a file goes that is put anywhere. */
static int64_t limit(struct ring *ring, uint64_t at)
{
	struct io_uring_file_index_range range;

	if (space_read(ring->kernel->task->space, &range, at, sizeof(range)))
		return -EFAULT;
	if (range.off + range.len < range.off)
		return -EOVERFLOW;
	if (!ring->files || range.resv || range.off + range.len > ring->files->count)
		return -EINVAL;
	ring->files->first = ring->files->next = range.off;
	ring->files->end = range.off + range.len;
	return 0;
}

int64_t files_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args)
{
	switch (opcode) {
	case IORING_REGISTER_FILES:
		return at ? create(ring, at, 0, nr_args) : -EFAULT;
	case IORING_REGISTER_FILES2:
		return create_tagged(ring, at, nr_args);
	case IORING_REGISTER_FILES_UPDATE:
		return update_plain(ring, at, nr_args);
	case IORING_REGISTER_FILES_UPDATE2:
		return update_tagged(ring, at, nr_args);
	case IORING_UNREGISTER_FILES:
		return at || nr_args ? -EINVAL : destroy(ring);
	default:
		return !at || nr_args ? -EINVAL : limit(ring, at);
	}
}
