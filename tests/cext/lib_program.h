/* SPDX-License-Identifier: MIT */
/* A program that uses libzcrx_emu as it would use the kernel: area, rings, one queue. */
#ifndef LIB_PROGRAM_H
#define LIB_PROGRAM_H

#include <errno.h>
#include <sys/mman.h>

#include "check.h"
#include "zcrx_emu.h"
#include "zcrx_emu_uapi.h"

#define PAGE 4096U
#define CQES 64U
#define DEFER_TASKRUN (1U << 13)
#define CQE32 (1U << 11)
#define CQE_MIXED (1U << 18) /* IORING_SETUP_CQE_MIXED */

/* Levels from 6.18 on have it. */
static inline bool has_mixed(const char *level)
{
	return strcmp(level, "seed") != 0 && strcmp(level, "6.15") != 0;
}

/* A test that takes a level, once for each that this build plays. */
#define AT_EACH_LEVEL(test)                                  \
	static void test##_at_each_level(void)               \
	{                                                    \
		for (uint32_t i = 0; zcrx_emu_level(i); i++) \
			test(zcrx_emu_level(i));             \
	}
#define LEVELS(test) CASE(test##_at_each_level)

struct program {
	struct zcrx_emu *emu;
	struct zcrx_emu_options options;
	uint8_t *area, *region;
	uint32_t buffers, entries;
	struct io_uring_zcrx_ifq_reg reg;
	struct io_uring_zcrx_area_reg area_reg;
	struct io_uring_region_desc region_reg;
	uint32_t *head, *tail;
	struct io_uring_zcrx_rqe *rqes;
	uint32_t my_tail;
	uint32_t cq_head, cq_tail, sq_flags;
	struct zcrx_emu_cqe cqes[CQES];
	uint32_t cq_entries;
};

static inline uint8_t *pages(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(memory != MAP_FAILED);
	return memory;
}

/* All that a registration needs, and a right one of it; register_program() does it. */
static inline void program_init(struct program *program, const char *level, uint32_t buffers,
				uint32_t entries)
{
	memset(program, 0, sizeof(*program));
	program->options.size = sizeof(program->options);
	program->options.kernel = level;
	program->buffers = buffers;
	program->entries = entries;
	program->cq_entries = CQES;
	program->area = pages((size_t)buffers * PAGE);
	program->region = pages(PAGE + entries * 16);
	program->area_reg.addr = (uintptr_t)program->area;
	program->area_reg.len = (uint64_t)buffers * PAGE;
	program->region_reg.user_addr = (uintptr_t)program->region;
	program->region_reg.size = (PAGE + entries * 16) / PAGE * PAGE;
	if (program->region_reg.size < 128 + entries * 16)
		program->region_reg.size += PAGE;
	program->region_reg.flags = IORING_MEM_REGION_TYPE_USER;
	program->reg.if_idx = 2;
	program->reg.rq_entries = entries;
	program->reg.area_ptr = (uintptr_t)&program->area_reg;
	program->reg.region_ptr = (uintptr_t)&program->region_reg;
}

static inline void program_create(struct program *program)
{
	REQUIRE(zcrx_emu_create(&program->options, &program->emu) == 0);
}

/* After a registration: the places that it told. */
static inline void find_ring(struct program *program)
{
	struct zcrx_emu_cq cq = {
		.head = &program->cq_head,
		.tail = &program->cq_tail,
		.cqes = program->cqes,
		.entries = program->cq_entries,
		.sq_flags = &program->sq_flags,
	};

	program->head = (uint32_t *)(void *)(program->region + program->reg.offsets.head);
	program->tail = (uint32_t *)(void *)(program->region + program->reg.offsets.tail);
	program->rqes =
		(struct io_uring_zcrx_rqe *)(void *)(program->region + program->reg.offsets.rqes);
	CHECK_EQ(zcrx_emu_set_cq(program->emu, &cq), 0);
}

static inline void program_start(struct program *program, const char *level, uint32_t buffers,
				 uint32_t entries)
{
	program_init(program, level, buffers, entries);
	program_create(program);
	REQUIRE(zcrx_emu_register_ifq(program->emu, &program->reg) == 0);
	find_ring(program);
}

static inline void program_end(struct program *program)
{
	zcrx_emu_destroy(program->emu);
	munmap(program->area, (size_t)program->buffers * PAGE);
	munmap(program->region, PAGE + program->entries * 16);
}

static inline void arm(struct program *program, uint32_t flow)
{
	struct zcrx_emu_recv recv = {.flow = flow, .user_data = 1000 + flow};

	CHECK_EQ(zcrx_emu_arm(program->emu, &recv), 0);
}

/* The next completion of a ring of mixed sizes, whose entries have 16 bytes. */
static inline bool next_mixed_cqe(struct program *program, struct zcrx_emu_cqe *cqe)
{
	const uint8_t *cqes = (const uint8_t *)program->cqes;
	uint32_t size;

	do {
		uint32_t slot = program->cq_head & (program->cq_entries - 1);

		if (program->cq_head == __atomic_load_n(&program->cq_tail, __ATOMIC_ACQUIRE))
			return false;
		memset(cqe, 0, sizeof(*cqe));
		memcpy(cqe, cqes + slot * 16, 16);
		size = cqe->flags & ZCRX_EMU_CQE_F_32 ? 32 : 16;
		CHECK(slot * 16 + size <= program->cq_entries * 16);
		memcpy(cqe, cqes + slot * 16, size);
		__atomic_store_n(&program->cq_head, program->cq_head + size / 16, __ATOMIC_RELEASE);
	} while (cqe->flags & ZCRX_EMU_CQE_F_SKIP);
	return true;
}

/* The next completion; false if there is none. */
static inline bool next_cqe(struct program *program, struct zcrx_emu_cqe *cqe)
{
	if (program->options.ring_flags & CQE_MIXED)
		return next_mixed_cqe(program, cqe);
	if (program->cq_head == __atomic_load_n(&program->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*cqe = program->cqes[program->cq_head & (program->cq_entries - 1)];
	__atomic_store_n(&program->cq_head, program->cq_head + 1, __ATOMIC_RELEASE);
	return true;
}

static inline void put_rqe(struct program *program, uint64_t off, uint32_t len, uint32_t pad)
{
	struct io_uring_zcrx_rqe *rqe = &program->rqes[program->my_tail & (program->entries - 1)];

	rqe->off = off;
	rqe->len = len;
	rqe->__pad = pad;
	program->my_tail++;
	__atomic_store_n(program->tail, program->my_tail, __ATOMIC_RELEASE);
}

static inline void give_back(struct program *program, const struct zcrx_emu_cqe *cqe)
{
	put_rqe(program, cqe->off, (uint32_t)cqe->res, 0);
}

/* `size` bytes arrive and are given; the completions go into `cqes`, how many. */
static inline uint32_t receive(struct program *program, uint32_t flow, size_t size,
			       const struct zcrx_emu_shape *shape, struct zcrx_emu_cqe *cqes)
{
	uint8_t bytes[16 * PAGE];
	uint32_t count = 0;

	REQUIRE(size <= sizeof(bytes));
	memset(bytes, 'a' + (int)flow, size);
	CHECK_EQ(zcrx_emu_deliver(program->emu, 0, flow, bytes, size, shape), (int64_t)size);
	zcrx_emu_step(program->emu);
	while (next_cqe(program, &cqes[count]))
		count++;
	return count;
}

static inline uint64_t found(struct program *program, uint32_t kind)
{
	return zcrx_emu_count(program->emu, kind);
}

/* Nothing but this has been found, and that so often. */
static inline void check_found(struct program *program, uint32_t kind, uint64_t count)
{
	char text[16384];

	CHECK_EQ(found(program, kind), count);
	CHECK_EQ(found(program, ZCRX_EMU_KINDS), count);
	if (found(program, ZCRX_EMU_KINDS) == count)
		return;
	zcrx_emu_report_text(program->emu, text, sizeof(text));
	fprintf(stderr, "%s", text);
}

#endif /* LIB_PROGRAM_H */
