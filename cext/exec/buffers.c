/* SPDX-License-Identifier: MIT */
#include "buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "space.h"

#define BUFFERS_MAX (1U << 14)
#define BUFFER_SIZE_MAX (1ULL << 30)

struct buffer_slot {
	uint64_t addr, size; /* 0: empty */
	uint64_t tag; /* of the completion that tells that it was emptied; 0: none does */
};

struct buffers {
	uint32_t count;
	struct buffer_slot slots[];
};

int buffers_check(const struct ring *ring, uint16_t number, uint64_t addr, uint64_t size)
{
	const struct buffers *buffers = ring->buffers;
	const struct buffer_slot *slot;

	if (!buffers || number >= buffers->count)
		return -EFAULT;
	slot = &buffers->slots[number];
	if (slot->size == 0 || addr < slot->addr || size > slot->size ||
	    addr - slot->addr > slot->size - size)
		return -EFAULT;
	return 0;
}

void buffers_free(struct ring *ring)
{
	free(ring->buffers);
	ring->buffers = NULL;
}

static void empty(struct ring *ring, struct buffer_slot *slot)
{
	uint64_t tag = slot->tag;

	*slot = (struct buffer_slot){0};
	if (tag)
		ring_post(ring, tag, 0, 0);
}

/* No address and no size: an empty slot. */
static int check(struct space *space, const struct iovec *vector, uint64_t tag)
{
	uint64_t addr = (uint64_t)(uintptr_t)vector->iov_base;

	if (addr == 0 && vector->iov_len == 0)
		return tag ? -EINVAL : 0;
	if (addr == 0 || vector->iov_len == 0 || vector->iov_len > BUFFER_SIZE_MAX)
		return -EFAULT;
	if (addr + vector->iov_len < addr)
		return -EOVERFLOW;
	return space_pin(space, addr, vector->iov_len);
}

static int update_slot(struct ring *ring, uint32_t number, uint64_t vector_at, uint64_t tag_at)
{
	struct space *space = ring->kernel->task->space;
	struct buffer_slot *slot = &ring->buffers->slots[number];
	struct iovec vector = {0};
	uint64_t tag = 0;
	int error;

	if (vector_at && space_read(space, &vector, vector_at, sizeof(vector)))
		return -EFAULT;
	if (tag_at && space_read(space, &tag, tag_at, sizeof(tag)))
		return -EFAULT;
	error = check(space, &vector, tag);
	if (error)
		return error;
	empty(ring, slot);
	*slot = (struct buffer_slot){
		.addr = (uint64_t)(uintptr_t)vector.iov_base,
		.size = vector.iov_len,
		.tag = tag,
	};
	return 0;
}

/* How many were; fewer than `count` by `error`. */
static uint32_t update_slots(struct ring *ring, uint32_t first, uint64_t vectors_at,
			     uint64_t tags_at, uint32_t count, int *error)
{
	uint32_t done = 0;

	*error = 0;
	while (done < count) {
		*error = update_slot(ring, first + done,
				     vectors_at ? vectors_at + done * sizeof(struct iovec) : 0,
				     tags_at ? tags_at + done * sizeof(uint64_t) : 0);
		if (*error)
			break;
		done++;
	}
	return done;
}

static int64_t create(struct ring *ring, uint64_t vectors_at, uint64_t tags_at, uint32_t count)
{
	struct buffers *buffers;
	int error;

	if (ring->buffers)
		return -EBUSY;
	if (count == 0 || count > BUFFERS_MAX)
		return -EINVAL;
	buffers = calloc(1, sizeof(*buffers) + count * sizeof(buffers->slots[0]));
	if (!buffers)
		return -ENOMEM;
	buffers->count = count;
	ring->buffers = buffers;
	update_slots(ring, 0, vectors_at, tags_at, count, &error);
	/* All or none, and of those that were not kept nothing is told. */
	if (error)
		buffers_free(ring);
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

static int64_t update(struct ring *ring, uint64_t at, uint32_t size)
{
	struct io_uring_rsrc_update2 asked;
	uint32_t done;
	int error;

	if (size != sizeof(asked))
		return -EINVAL;
	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	if (asked.nr == 0 || asked.resv || asked.resv2)
		return -EINVAL;
	if (asked.offset + asked.nr < asked.offset)
		return -EOVERFLOW;
	if (!ring->buffers)
		return -ENXIO;
	if (asked.offset + asked.nr > ring->buffers->count)
		return -EINVAL;
	done = update_slots(ring, asked.offset, asked.data, asked.tags, asked.nr, &error);
	return done ? (int64_t)done : error;
}

static int64_t destroy(struct ring *ring)
{
	if (!ring->buffers)
		return -ENXIO;
	for (uint32_t i = 0; i < ring->buffers->count; i++)
		empty(ring, &ring->buffers->slots[i]);
	buffers_free(ring);
	return 0;
}

int64_t buffers_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args)
{
	switch (opcode) {
	case IORING_REGISTER_BUFFERS:
		return at ? create(ring, at, 0, nr_args) : -EFAULT;
	case IORING_REGISTER_BUFFERS2:
		return create_tagged(ring, at, nr_args);
	case IORING_REGISTER_BUFFERS_UPDATE:
		return update(ring, at, nr_args);
	default:
		return at || nr_args ? -EINVAL : destroy(ring);
	}
}
