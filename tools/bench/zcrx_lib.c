/* SPDX-License-Identifier: MIT */
/*
 * What libzcrx_emu costs in its deterministic mode: an instance from registration to
 * teardown, and a buffer of 4 KiB delivered and returned, beside the bare copy of the
 * same bytes through a ring that judges nothing.
 *
 *	cc -O2 tools/bench/zcrx_lib.c $(zcrx-emu config --cflags --libs) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "zcrx_emu.h"
#include "zcrx_emu_uapi.h"

#define PAGE 4096U
#define BUFFERS 64U
#define ENTRIES 64U
#define BATCH 32U
#define ROUNDS 500U /* of one try */
#define TRIES 150U

static uint8_t *area, *rq, payload[BATCH * PAGE];
static struct zcrx_emu_cqe cqes[BATCH * 2];
static uint32_t cq_head, cq_tail;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct zcrx_emu *start(uint32_t flags, struct io_uring_zcrx_ifq_reg *reg)
{
	struct zcrx_emu_options options = {.size = sizeof(options), .flags = flags};
	struct zcrx_emu_cq cq = {&cq_head, &cq_tail, cqes, BATCH * 2, NULL};
	struct io_uring_zcrx_area_reg area_reg = {.addr = (uintptr_t)area, .len = BUFFERS * PAGE};
	struct io_uring_region_desc region = {
		.user_addr = (uintptr_t)rq, .size = PAGE, .flags = IORING_MEM_REGION_TYPE_USER};
	struct zcrx_emu *emu;

	*reg = (struct io_uring_zcrx_ifq_reg){
		.if_idx = 1,
		.rq_entries = ENTRIES,
		.area_ptr = (uintptr_t)&area_reg,
		.region_ptr = (uintptr_t)&region,
	};
	cq_head = cq_tail = 0;
	if (zcrx_emu_create(&options, &emu) || zcrx_emu_register_ifq(emu, reg) ||
	    zcrx_emu_set_cq(emu, &cq))
		exit(2);
	return emu;
}

/* Nanoseconds for a buffer delivered and returned. */
static double deliver(uint32_t flags)
{
	struct zcrx_emu_recv recv = {.flow = 1};
	struct io_uring_zcrx_ifq_reg reg;
	struct zcrx_emu *emu = start(flags, &reg);
	struct io_uring_zcrx_rqe *rqes = (void *)(rq + reg.offsets.rqes);
	uint32_t *rq_tail = (void *)(rq + reg.offsets.tail), tail = 0;
	double begin;

	zcrx_emu_arm(emu, &recv);
	begin = now();
	for (uint32_t round = 0; round < ROUNDS; round++) {
		if (zcrx_emu_deliver(emu, 0, 1, payload, sizeof(payload), NULL) !=
		    (int64_t)sizeof(payload))
			exit(2);
		zcrx_emu_step(emu);
		for (; cq_head != cq_tail; cq_head++) {
			const struct zcrx_emu_cqe *cqe = &cqes[cq_head % (BATCH * 2)];

			rqes[tail % ENTRIES] = (struct io_uring_zcrx_rqe){
				.off = cqe->off, .len = (uint32_t)cqe->res};
			__atomic_store_n(rq_tail, ++tail, __ATOMIC_RELEASE);
		}
	}
	begin = now() - begin;
	zcrx_emu_destroy(emu);
	return begin / ROUNDS / BATCH * 1e9;
}

/* The same bytes into the same area, and indices through a ring. */
static double copy(void)
{
	static uint32_t ring[ENTRIES];
	uint32_t head = 0, tail = 0;
	double begin;

	for (uint32_t i = 0; i < ENTRIES; i++)
		ring[i] = i;
	begin = now();
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < BATCH; i++) {
			uint32_t niov = ring[head++ % ENTRIES];

			memcpy(area + niov * PAGE, payload + i * PAGE, PAGE);
			__asm__ __volatile__("" : : "r"(area) : "memory");
			ring[tail % ENTRIES] = niov;
			__atomic_store_n(&tail, tail + 1, __ATOMIC_RELEASE);
		}
	}
	return (now() - begin) / ROUNDS / BATCH * 1e9;
}

/* Microseconds for an instance made, registered and destroyed. */
static double come_and_go(uint32_t flags)
{
	struct io_uring_zcrx_ifq_reg reg;
	double begin = now();

	for (uint32_t round = 0; round < ROUNDS; round++)
		zcrx_emu_destroy(start(flags, &reg));
	return (now() - begin) / ROUNDS * 1e6;
}

static double bare(uint32_t flags)
{
	(void)flags;
	return copy();
}

/* In turns, and of each the best: what else the machine does is in none of them. */
static struct {
	double (*measure)(uint32_t flags);
	uint32_t flags;
	double best;
} cases[] = {
	{come_and_go, 0, 0},
	{bare, 0, 0},
	{deliver, ZCRX_EMU_NO_CHECK | ZCRX_EMU_NO_POISON, 0},
	{deliver, ZCRX_EMU_NO_POISON, 0},
	{deliver, 0, 0},
};

int main(void)
{
	area = aligned_alloc(PAGE, BUFFERS * PAGE);
	rq = aligned_alloc(PAGE, PAGE);
	memset(area, 1, BUFFERS * PAGE);
	memset(rq, 0, PAGE);
	for (uint32_t try = 0; try < TRIES; try++) {
		for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			double one = cases[i].measure(cases[i].flags);

			if (try == 0 || one < cases[i].best)
				cases[i].best = one;
		}
	}
	printf("registration to teardown: %.1f us\n", cases[0].best);
	printf("bare copy of 4 KiB: %.0f ns\n", cases[1].best);
	printf("delivered and returned, no checker, no poison: %.2f x\n",
	       cases[2].best / cases[1].best);
	printf("with the checker: %.2f x\n", cases[3].best / cases[1].best);
	printf("with poison, too: %.2f x\n", cases[4].best / cases[1].best);
	return 0;
}
