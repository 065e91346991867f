/* SPDX-License-Identifier: MIT */
/*
 * With -DMISTAKE=… it makes one of the mistakes below, all of which were seen in programs.
 */
#include "receiver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum mistake {
	NONE,
	FIXED_OFFSETS, /* tail and entries where the first version had them */
	PRIMED, /* "the kernel needs buffers to fill": the ring is no fill ring */
	IGNORES_HEAD, /* "the ring is large enough" */
	DROPS_WHEN_FULL, /* "there is nothing that one could do" */
	MASK_ZERO, /* the mask never set */
	ENDS_AT_ENOSPC, /* "an error is an error" */
	RETURNS_TWICE, /* when the bytes are read, and when their buffer is recycled */
	DIRTY_PAD, /* two of three words of an entry written */
	WRONG_FLAGS, /* a ring whose completions are too small */
	SMALL_AREA, /* what stands in the NIC's descriptors not counted */
};

#ifndef MISTAKE
#define MISTAKE NONE
#endif
static const enum mistake mistake = MISTAKE;

/* As in <linux/io_uring.h>. */
#define SETUP_CQE32 (1U << 11)
#define SETUP_SINGLE_ISSUER (1U << 12)
#define SETUP_DEFER_TASKRUN (1U << 13)

uint32_t receiver_ring_flags(void)
{
	uint32_t flags = SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;

	return mistake == WRONG_FLAGS ? flags : flags | SETUP_CQE32;
}

uint32_t receiver_buffers(uint32_t held, uint32_t descriptors, uint32_t mtu)
{
	uint32_t standing = descriptors * ((mtu + RECEIVER_PAGE - 1) / RECEIVER_PAGE);

	return mistake == SMALL_AREA ? held : held + standing;
}

static void *pages(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void prime(struct receiver *receiver)
{
	for (; receiver->my_tail < receiver->entries; receiver->my_tail++)
		receiver->rqes[receiver->my_tail] = (struct io_uring_zcrx_rqe){
			.off = receiver->my_tail * RECEIVER_PAGE, .len = RECEIVER_PAGE};
	__atomic_store_n(receiver->tail, receiver->my_tail, __ATOMIC_RELEASE);
}

static void find_ring(struct receiver *receiver, const struct io_uring_zcrx_ifq_reg *reg)
{
	uint32_t tail_at = mistake == FIXED_OFFSETS ? 4 : reg->offsets.tail;
	uint32_t rqes_at = mistake == FIXED_OFFSETS ? 8 : reg->offsets.rqes;

	receiver->head = (uint32_t *)(void *)(receiver->region + reg->offsets.head);
	receiver->tail = (uint32_t *)(void *)(receiver->region + tail_at);
	receiver->rqes = (struct io_uring_zcrx_rqe *)(void *)(receiver->region + rqes_at);
	receiver->entries = reg->rq_entries;
	receiver->mask = mistake == MASK_ZERO ? 0 : reg->rq_entries - 1;
}

int receiver_init(struct receiver *receiver, uint32_t buffers, uint32_t entries,
		  receiver_register *register_ifq, void *ring)
{
	struct io_uring_zcrx_area_reg area = {0};
	struct io_uring_region_desc region = {0};
	struct io_uring_zcrx_ifq_reg reg = {0};
	int error;

	memset(receiver, 0, sizeof(*receiver));
	receiver->area_size = (size_t)buffers * RECEIVER_PAGE;
	receiver->region_size = RECEIVER_PAGE + entries * sizeof(struct io_uring_zcrx_rqe);
	receiver->region_size += RECEIVER_PAGE - receiver->region_size % RECEIVER_PAGE;
	receiver->area = pages(receiver->area_size);
	receiver->region = pages(receiver->region_size);
	if (!receiver->area || !receiver->region) {
		receiver_free(receiver);
		return -ENOMEM;
	}
	area.addr = (uintptr_t)receiver->area;
	area.len = receiver->area_size;
	region.user_addr = (uintptr_t)receiver->region;
	region.size = receiver->region_size;
	region.flags = IORING_MEM_REGION_TYPE_USER;
	reg.if_idx = 2;
	reg.rq_entries = entries; /* a power of two */
	reg.area_ptr = (uintptr_t)&area;
	reg.region_ptr = (uintptr_t)&region;
	error = register_ifq(ring, &reg);
	if (error) {
		receiver_free(receiver);
		return error;
	}
	find_ring(receiver, &reg);
	if (mistake == PRIMED)
		prime(receiver);
	return 0;
}

void receiver_free(struct receiver *receiver)
{
	if (receiver->area)
		munmap(receiver->area, receiver->area_size);
	if (receiver->region)
		munmap(receiver->region, receiver->region_size);
	free(receiver->kept);
	memset(receiver, 0, sizeof(*receiver));
}

enum receiver_next receiver_next(int32_t res)
{
	if (res > 0)
		return RECEIVER_BYTES;
	/* The completion queue was full, or no buffer was free for a copy: both pass. */
	if (mistake != ENDS_AT_ENOSPC && (res == -ENOSPC || res == -ENOMEM))
		return RECEIVER_AGAIN;
	return RECEIVER_END;
}

const uint8_t *receiver_bytes(const struct receiver *receiver, uint64_t off)
{
	return receiver->area + (off & ~IORING_ZCRX_AREA_MASK);
}

static void keep(struct receiver *receiver, uint64_t off, uint32_t length)
{
	if (receiver->kept_count == receiver->kept_capacity) {
		uint32_t capacity = receiver->kept_capacity ? 2 * receiver->kept_capacity : 64;

		receiver->kept = realloc(receiver->kept, capacity * sizeof(*receiver->kept));
		if (!receiver->kept)
			abort();
		receiver->kept_capacity = capacity;
	}
	receiver->kept[receiver->kept_count++] =
		(struct io_uring_zcrx_rqe){.off = off, .len = length};
}

void receiver_return(struct receiver *receiver, uint64_t off, uint32_t length)
{
	keep(receiver, off, length);
	if (mistake == RETURNS_TWICE)
		keep(receiver, off, length);
	receiver_flush(receiver);
}

/*
 * Ordering: the acquire pairs with the kernel's release of the head, after which it does
 * not read the entries before it any more; the release with its acquire of the tail, so
 * that it finds the entries written.
 */
void receiver_flush(struct receiver *receiver)
{
	uint32_t head = __atomic_load_n(receiver->head, __ATOMIC_ACQUIRE);
	uint32_t done = 0;

	while (done < receiver->kept_count &&
	       (mistake == IGNORES_HEAD || receiver->my_tail - head < receiver->entries)) {
		struct io_uring_zcrx_rqe *rqe = &receiver->rqes[receiver->my_tail & receiver->mask];

		rqe->off = receiver->kept[done].off;
		rqe->len = receiver->kept[done].len;
		rqe->__pad = mistake == DIRTY_PAD ? rqe->len : 0;
		receiver->my_tail++;
		done++;
	}
	__atomic_store_n(receiver->tail, receiver->my_tail, __ATOMIC_RELEASE);
	if (mistake == DROPS_WHEN_FULL)
		done = receiver->kept_count;
	receiver->kept_count -= done;
	if (receiver->kept_count)
		memmove(receiver->kept, receiver->kept + done,
			receiver->kept_count * sizeof(*receiver->kept));
}
