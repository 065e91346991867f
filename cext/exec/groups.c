/* SPDX-License-Identifier: MIT */
#include "groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "space.h"
#include "wire/shm.h"

#define PAGE 4096U
#define ENTRIES_MAX 32768U
#define CQE_F_BUFFER (1U << 0)
#define CQE_F_BUF_MORE (1U << 4)
#define CQE_BUFFER_SHIFT 16

/* One that was handed over by an operation. */
struct given {
	struct given *next;
	struct buffer buffer;
};

struct group {
	struct group *next;
	uint16_t id;
	/* A ring: where it is, in the program's memory or in the ring's file, which we map. */
	bool is_ring, is_incremental;
	struct space *space;
	uint64_t at;
	uint8_t *shared; /* NULL: at `at` */
	uint32_t entries;
	uint16_t head;
	/* No ring: oldest first. */
	struct given *first, **end;
};

static struct group **link_of(struct ring *ring, uint16_t id)
{
	struct group **link = &ring->groups;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	return link;
}

static struct group *find(const struct ring *ring, uint16_t id)
{
	struct group *group = ring->groups;

	while (group && group->id != id)
		group = group->next;
	return group;
}

static uint64_t size_of(uint32_t entries)
{
	return entries * sizeof(struct io_uring_buf);
}

/* ---- rings -------------------------------------------------------------------------------------- */

/*
 * The program stands anywhere in its ring: the distance is clamped.
 *
 * Ordering: pairs with the program's publishing, which is to buffers what
 * zcrx_rq_user_publish() is to returned ones: entries below the tail that we saw hold what was
 * stored before. Of memory that is not mapped here the kernel copies the tail first.
 */
static uint32_t ring_count(const struct group *group)
{
	size_t tail_at = offsetof(struct io_uring_buf, resv);
	uint16_t tail, count;

	if (group->shared)
		tail = shm_load_acquire_u16((shm_u16 *)(void *)(group->shared + tail_at),
					    POINT_COUNTER);
	else if (space_read(group->space, &tail, group->at + tail_at, sizeof(tail)))
		return 0;
	count = (uint16_t)(tail - group->head);
	return count < group->entries ? count : group->entries;
}

static uint64_t entry_at(const struct group *group, uint32_t ahead)
{
	return ((group->head + ahead) & (group->entries - 1)) * sizeof(struct io_uring_buf);
}

static bool read_entry(const struct group *group, uint32_t ahead, struct buffer *buffer)
{
	uint64_t at = entry_at(group, ahead);
	struct io_uring_buf entry;

	if (group->shared)
		memcpy(&entry, group->shared + at, sizeof(entry));
	else if (space_read(group->space, &entry, group->at + at, sizeof(entry)))
		return false;
	*buffer = (struct buffer){entry.addr, entry.len, entry.bid};
	return true;
}

/* What is left of a buffer that is filled bit by bit. The program wrote it, and reads it. */
static void write_rest(const struct group *group, struct buffer rest)
{
	struct io_uring_buf entry = {.addr = rest.addr, .len = rest.len};
	size_t size = offsetof(struct io_uring_buf, bid);
	uint64_t at = entry_at(group, 0);

	if (group->shared)
		memcpy(group->shared + at, &entry, size);
	else
		space_write(group->space, group->at + at, &entry, size);
}

static uint32_t peek_ring(const struct group *group, struct buffer *buffers, uint32_t most)
{
	uint32_t count = ring_count(group);

	if (count > most)
		count = most;
	for (uint32_t i = 0; i < count; i++) {
		if (!read_entry(group, i, &buffers[i]))
			return i;
	}
	return count;
}

/* ---- taking ------------------------------------------------------------------------------------- */

uint32_t groups_peek(const struct ring *ring, uint16_t id, struct buffer *buffers, uint32_t most)
{
	const struct group *group = find(ring, id);
	uint32_t count = 0;

	if (!group)
		return 0;
	if (group->is_ring)
		return peek_ring(group, buffers, most);
	for (const struct given *one = group->first; one && count < most; one = one->next)
		buffers[count++] = one->buffer;
	return count;
}

static void pop(struct group *group)
{
	struct given *one = group->first;

	group->first = one->next;
	if (!group->first)
		group->end = &group->first;
	free(one);
}

/* The oldest is taken, `size` bytes of it. What of it stays, if bits of it may. */
static bool take_one(struct group *group, struct buffer buffer, uint64_t size)
{
	bool stays = group->is_incremental && size < buffer.len;

	if (group->is_incremental)
		write_rest(group, (struct buffer){.addr = buffer.addr + (stays ? size : 0),
						  .len = stays ? buffer.len - (uint32_t)size : 0});
	if (!group->is_ring)
		pop(group);
	else if (!stays)
		group->head++;
	return stays;
}

uint32_t groups_take(struct ring *ring, uint16_t id, const struct buffer *buffers, uint64_t size)
{
	struct group *group = find(ring, id);
	uint32_t flags = CQE_F_BUFFER | (uint32_t)buffers[0].bid << CQE_BUFFER_SHIFT;
	bool stays;

	do {
		uint64_t here = size < buffers->len ? size : buffers->len;

		stays = take_one(group, *buffers++, here);
		size -= here;
	} while (size > 0);
	return flags | (stays ? CQE_F_BUF_MORE : 0);
}

/* ---- by operations ------------------------------------------------------------------------------ */

static struct group *add(struct ring *ring, uint16_t id)
{
	struct group *group = calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	group->id = id;
	group->end = &group->first;
	group->next = ring->groups;
	ring->groups = group;
	return group;
}

int groups_provide(struct ring *ring, uint16_t id, struct buffer next, uint32_t count)
{
	struct group *group = find(ring, id);

	if (!group)
		group = add(ring, id);
	if (!group)
		return -ENOMEM;
	if (group->is_ring)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		struct given *one = calloc(1, sizeof(*one));

		if (!one)
			return i ? 0 : -ENOMEM;
		one->buffer = next;
		*group->end = one;
		group->end = &one->next;
		next.addr += next.len;
		next.bid++;
	}
	return 0;
}

int64_t groups_remove(struct ring *ring, uint16_t id, uint32_t count)
{
	struct group *group = find(ring, id);
	int64_t removed = 0;

	if (!group)
		return -ENOENT;
	if (group->is_ring)
		return -EINVAL;
	for (; group->first && removed < count; removed++)
		pop(group);
	return removed;
}

/* ---- calls -------------------------------------------------------------------------------------- */

static void destroy(struct group **link)
{
	struct group *group = *link;

	*link = group->next;
	while (group->first)
		pop(group);
	if (group->shared)
		file_unmap(group->shared, size_of(group->entries));
	free(group);
}

void groups_free(struct ring *ring)
{
	while (ring->groups)
		destroy(&ring->groups);
}

static int check(const struct io_uring_buf_reg *asked)
{
	const uint16_t known = IOU_PBUF_RING_MMAP | IOU_PBUF_RING_INC;
	bool is_power = asked->ring_entries && !(asked->ring_entries & (asked->ring_entries - 1));

	if (asked->resv[0] || asked->resv[1] || asked->resv[2] || asked->flags & ~known)
		return -EINVAL;
	return is_power && asked->ring_entries <= ENTRIES_MAX ? 0 : -EINVAL;
}

/* Do two rings of ours lie one in the other? The kernel's cannot: ours have places in a file. */
static bool is_in_the_way(const struct ring *ring, uint16_t id, uint32_t entries)
{
	uint64_t from = file_group_at(id), end = from + size_of(entries);

	for (const struct group *other = ring->groups; other; other = other->next) {
		uint64_t there = file_group_at(other->id);

		if (other->shared && there < end && from < there + size_of(other->entries))
			return true;
	}
	return false;
}

static int find_memory(struct ring *ring, struct group *group, const struct io_uring_buf_reg *asked)
{
	uint64_t size = size_of(asked->ring_entries);

	if (asked->flags & IOU_PBUF_RING_MMAP) {
		if (!is_in_the_way(ring, asked->bgid, asked->ring_entries))
			group->shared = file_group(&ring->file, asked->bgid, size);
		return group->shared ? 0 : -ENOMEM;
	}
	if (asked->ring_addr == 0)
		return -EFAULT;
	if (asked->ring_addr % PAGE)
		return -EINVAL;
	group->space = ring->kernel->task->space;
	group->at = asked->ring_addr;
	return space_pin(group->space, group->at, size);
}

static int64_t create(struct ring *ring, uint64_t at)
{
	struct io_uring_buf_reg asked;
	struct group *group;
	int error;

	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	error = check(&asked);
	if (error)
		return error;
	group = find(ring, asked.bgid);
	if (group && (group->is_ring || group->first))
		return -EEXIST;
	if (group)
		destroy(link_of(ring, asked.bgid));
	group = add(ring, asked.bgid);
	if (!group)
		return -ENOMEM;
	error = find_memory(ring, group, &asked);
	if (error) {
		destroy(&ring->groups);
		return error;
	}
	group->is_ring = true;
	group->is_incremental = (asked.flags & IOU_PBUF_RING_INC) != 0;
	group->entries = asked.ring_entries;
	return 0;
}

static int64_t remove_ring(struct ring *ring, uint64_t at)
{
	struct io_uring_buf_reg asked;
	struct group **link;

	if (space_read(ring->kernel->task->space, &asked, at, sizeof(asked)))
		return -EFAULT;
	if (asked.resv[0] || asked.resv[1] || asked.resv[2] || asked.flags)
		return -EINVAL;
	link = link_of(ring, asked.bgid);
	if (!*link)
		return -ENOENT;
	if (!(*link)->is_ring)
		return -EINVAL;
	destroy(link);
	return 0;
}

static int64_t tell(struct ring *ring, uint64_t at)
{
	struct space *space = ring->kernel->task->space;
	struct io_uring_buf_status status;
	const struct group *group;

	if (space_read(space, &status, at, sizeof(status)))
		return -EFAULT;
	for (size_t i = 0; i < sizeof(status.resv) / sizeof(status.resv[0]); i++) {
		if (status.resv[i])
			return -EINVAL;
	}
	group = find(ring, (uint16_t)status.buf_group);
	if (!group)
		return -ENOENT;
	if (!group->is_ring)
		return -EINVAL;
	status.head = group->head;
	return space_write(space, at, &status, sizeof(status));
}

int64_t groups_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args)
{
	if (!at || nr_args != 1)
		return -EINVAL;
	if (opcode == IORING_REGISTER_PBUF_RING)
		return create(ring, at);
	return opcode == IORING_UNREGISTER_PBUF_RING ? remove_ring(ring, at) : tell(ring, at);
}
