/* SPDX-License-Identifier: MIT */
/*
 * A receiver as an application has it, and a test of it without a NIC. With -DBROKEN it
 * has three mistakes that were seen in real ones.
 *
 *	cc zcrx_receiver.c $(zcrx-emu config --cflags --libs)
 */
#include <zcrx_emu.h>
#include <zcrx_emu_uapi.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096U
#define BUFFERS 8U
#define ENTRIES 4U
#define CQES 8U

/* ---- the application -------------------------------------------------------------- */

struct receiver {
	uint8_t *area, *rq;
	uint32_t *rq_head, *rq_tail, tail;
	struct io_uring_zcrx_rqe *rqes;
	struct io_uring_zcrx_rqe kept[BUFFERS * 4]; /* to be returned when there is room */
	uint32_t kept_count;
	uint64_t bytes;
	int needs_arming;
};

static int receiver_init(struct receiver *receiver, struct zcrx_emu *ring)
{
	uint8_t *rq = receiver->rq = aligned_alloc(PAGE, PAGE);
	struct io_uring_zcrx_area_reg area = {0};
	struct io_uring_region_desc region = {0};
	struct io_uring_zcrx_ifq_reg reg = {0};
	int error;

	receiver->area = aligned_alloc(PAGE, BUFFERS * PAGE);
	if (!rq || !receiver->area)
		return 1;
	memset(receiver->area, 0, BUFFERS * PAGE);
	memset(rq, 0, PAGE);
	area.addr = (uintptr_t)receiver->area;
	area.len = BUFFERS * PAGE;
	region.user_addr = (uintptr_t)rq;
	region.size = PAGE;
	region.flags = IORING_MEM_REGION_TYPE_USER;
	reg.if_idx = 2;
	reg.rq_entries = ENTRIES;
	reg.area_ptr = (uintptr_t)&area;
	reg.region_ptr = (uintptr_t)&region;
	error = zcrx_emu_register_ifq(ring, &reg); /* io_uring_register_ifq() */
	if (error) {
		fprintf(stderr, "register: %s: %s\n", strerror(-error), zcrx_emu_why(ring));
		return error;
	}
	receiver->rq_head = (uint32_t *)(void *)(rq + reg.offsets.head);
	receiver->rq_tail = (uint32_t *)(void *)(rq + reg.offsets.tail);
	receiver->rqes = (struct io_uring_zcrx_rqe *)(void *)(rq + reg.offsets.rqes);
#ifdef BROKEN
	/* "The kernel needs buffers to fill." */
	for (; receiver->tail < ENTRIES; receiver->tail++)
		receiver->rqes[receiver->tail].off = receiver->tail * PAGE;
	__atomic_store_n(receiver->rq_tail, receiver->tail, __ATOMIC_RELEASE);
#endif
	return 0;
}

/* Of what is to be returned, as much as there is room for in the refill ring. */
static void receiver_return(struct receiver *receiver)
{
#ifndef BROKEN
	uint32_t head = __atomic_load_n(receiver->rq_head, __ATOMIC_ACQUIRE);
#else
	uint32_t head = receiver->tail;
#endif

	for (; receiver->kept_count && receiver->tail - head < ENTRIES; receiver->tail++)
		receiver->rqes[receiver->tail % ENTRIES] = receiver->kept[--receiver->kept_count];
	__atomic_store_n(receiver->rq_tail, receiver->tail, __ATOMIC_RELEASE);
}

static void receiver_complete(struct receiver *receiver, const struct zcrx_emu_cqe *cqe)
{
	if (cqe->res > 0) {
		receiver->bytes += (uint64_t)cqe->res;
		receiver->kept[receiver->kept_count++] = (struct io_uring_zcrx_rqe){
			.off = cqe->off,
			.len = (uint32_t)cqe->res,
		};
		receiver_return(receiver);
	}
#ifndef BROKEN
	/* Anything but the end: it may go on. */
	if (!(cqe->flags & ZCRX_EMU_CQE_F_MORE) && cqe->res < 0)
		receiver->needs_arming = 1;
#endif
}

/* ---- its test ------------------------------------------------------------------------ */

static void say(void *context, const struct zcrx_emu_report *report)
{
	(void)context;
	printf("%s: %s\n", report->name, report->text);
}

int main(void)
{
	static uint8_t payload[4 * PAGE];
	static struct zcrx_emu_cqe cqes[CQES];
	uint32_t head = 0, tail = 0;
	struct zcrx_emu_cq cq = {&head, &tail, cqes, CQES, NULL};
	struct zcrx_emu_recv recv = {.flow = 1, .user_data = 1};
	struct zcrx_emu_options options = {.size = sizeof(options), .on_report = say};
	struct receiver receiver = {0};
	struct zcrx_emu *ring;
	int found;

	if (zcrx_emu_create(&options, &ring) || receiver_init(&receiver, ring) ||
	    zcrx_emu_set_cq(ring, &cq) || zcrx_emu_arm(ring, &recv))
		return 2;
	for (int i = 0; i < 20; i++) {
		/* A NIC that cuts small: several fragments a buffer, more than the queue holds. */
		struct zcrx_emu_shape shape = {.fragment_max = 1000, .per_buffer = 4};

		zcrx_emu_deliver(ring, 0, 1, payload, i % 8 == 5 ? 9000 : 3000, &shape);
		zcrx_emu_step(ring);
		for (; head != tail; __atomic_store_n(&head, head + 1, __ATOMIC_RELEASE))
			receiver_complete(&receiver, &cqes[head % CQES]);
		/* The kernel looks into the refill ring; the rest is returned. */
		while (zcrx_emu_drain(ring, 0) > 0)
			receiver_return(&receiver);
		if (receiver.needs_arming)
			zcrx_emu_arm(ring, &recv);
		receiver.needs_arming = 0;
	}
	found = zcrx_emu_finish(ring);
	printf("%llu bytes, %d found\n", (unsigned long long)receiver.bytes, found);
	zcrx_emu_destroy(ring);
	free(receiver.area);
	free(receiver.rq);
	return found != 0;
}
