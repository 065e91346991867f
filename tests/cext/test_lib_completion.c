/* SPDX-License-Identifier: MIT */
/*
 * The completion queue: entries of 32 bytes and of mixed sizes, mapped here or reached by
 * functions, and what becomes of those that find no room.
 */
#include "lib_elsewhere.h"
#include "lib_program.h"

static struct program program;
static struct zcrx_emu_cqe cqes[64];

static void start_mixed(const char *level, uint32_t entries)
{
	program_init(&program, level, 16, 32);
	program.options.ring_flags = DEFER_TASKRUN | CQE_MIXED;
	program.cq_entries = entries;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
}

static void data_takes_two_entries_of_a_mixed_ring(const char *level)
{
	if (!has_mixed(level))
		return;
	start_mixed(level, 8);
	CHECK_EQ(receive(&program, 1, 2 * PAGE + 100, NULL, cqes), 3);
	CHECK_EQ(program.cq_tail, 6);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(cqes[i].flags, ZCRX_EMU_CQE_F_MORE | ZCRX_EMU_CQE_F_32);
		CHECK_EQ(cqes[i].user_data, 1001);
		CHECK_EQ(program.area[cqes[i].off], 'b');
		CHECK_EQ(cqes[i].pad, 0);
		give_back(&program, &cqes[i]);
	}
	CHECK_EQ(cqes[2].res, 100);
	/* The last one of a receive has no second half. */
	CHECK_EQ(zcrx_emu_end(program.emu, 1), 0);
	zcrx_emu_step(program.emu);
	CHECK_EQ(program.cq_tail, 7);
	REQUIRE(next_cqe(&program, &cqes[0]));
	CHECK_EQ(cqes[0].flags, 0);
	CHECK_EQ(cqes[0].res, 0);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* Whatever is before it: a large entry never lies over the end. */
static void last_entry_of_a_mixed_ring_is_skipped(const char *level)
{
	struct zcrx_emu_recv recv = {.zcrx_id = 9, .flow = 1, .user_data = 7};
	uint32_t skips = 0;

	if (!has_mixed(level))
		return;
	start_mixed(level, 4);
	for (uint32_t round = 0; round < 50; round++) {
		uint32_t before;

		/* A small one, so that large ones begin at odd places, too. */
		if (round % 3 == 0) {
			CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
			REQUIRE(next_cqe(&program, &cqes[0]));
			CHECK_EQ(cqes[0].res, -EINVAL);
		}
		before = program.cq_tail;
		CHECK_EQ(receive(&program, 1, 100, NULL, cqes), 1);
		CHECK_EQ(cqes[0].res, 100);
		CHECK_EQ(program.cq_tail - before, before % 4 == 3 ? 3 : 2);
		skips += before % 4 == 3;
		give_back(&program, &cqes[0]);
	}
	CHECK(skips > 5);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void one_free_entry_of_a_mixed_ring_is_no_room_for_data(const char *level)
{
	struct zcrx_emu_recv recv = {.zcrx_id = 9, .flow = 1, .user_data = 7};

	if (!has_mixed(level))
		return;
	start_mixed(level, 4);
	CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
	/* Of four one is used, data takes two, and the one at the end is skipped for the next. */
	CHECK_EQ(receive(&program, 1, 2 * PAGE, NULL, cqes), 2);
	CHECK_EQ(cqes[0].res, -EINVAL);
	CHECK_EQ(cqes[1].res, PAGE);
	CHECK_EQ(program.cq_tail, 4);
	CHECK_EQ(program.sq_flags, ZCRX_EMU_SQ_CQ_OVERFLOW);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &cqes[2]));
	CHECK_EQ(cqes[2].res, -ENOSPC);
	give_back(&program, &cqes[1]);
	arm(&program, 1);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &cqes[1]));
	CHECK_EQ(cqes[1].res, PAGE);
	give_back(&program, &cqes[1]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void queue_of_one_entry_holds_no_data_of_mixed_size(const char *level)
{
	uint32_t head = 0, tail = 0;
	struct zcrx_emu_cq cq = {&head, &tail, cqes, 1, NULL};

	if (!has_mixed(level))
		return;
	start_mixed(level, 4);
	CHECK_EQ(zcrx_emu_set_cq(program.emu, &cq), -EINVAL);
	cq.entries = 6;
	CHECK_EQ(zcrx_emu_set_cq(program.emu, &cq), -EINVAL);
	cq.entries = 2;
	cq.cqes = NULL;
	CHECK_EQ(zcrx_emu_set_cq(program.emu, &cq), -EINVAL);
	program_end(&program);
}

/* ---- by address --------------------------------------------------------------------------- */

static void *map_elsewhere(void *context, uint64_t address, uint64_t size)
{
	(void)context;
	CHECK(address >= ELSEWHERE && address + size <= ELSEWHERE + sizeof(elsewhere));
	return elsewhere + (address - ELSEWHERE);
}

static uint32_t *word_elsewhere(uint64_t address)
{
	return (uint32_t *)(void *)(elsewhere + (address - ELSEWHERE));
}

/* Structs in its first page, the ring in the second, the queue in the third, then the area. */
static const struct zcrx_emu_cq_at queue_at = {
	.head = ELSEWHERE + 2 * PAGE,
	.tail = ELSEWHERE + 2 * PAGE + 4,
	.sq_flags = ELSEWHERE + 2 * PAGE + 8,
	.cqes = ELSEWHERE + 2 * PAGE + 64,
	.entries = 8,
};

static void start_elsewhere(const char *level, const struct zcrx_emu_memory *memory)
{
	memset(elsewhere, 0, sizeof(elsewhere));
	program_init(&program, level, 8, 16);
	program.options.memory = memory;
	program.options.ring_flags = has_mixed(level) ? DEFER_TASKRUN | CQE_MIXED : 0;
	program_create(&program);
	program.reg.region_ptr = ELSEWHERE + 128;
	program.reg.area_ptr = ELSEWHERE + 256;
	program.region_reg.user_addr = ELSEWHERE + PAGE;
	program.area_reg.addr = ELSEWHERE + 3 * PAGE;
	memcpy(elsewhere, &program.reg, sizeof(program.reg));
	memcpy(elsewhere + 128, &program.region_reg, sizeof(program.region_reg));
	memcpy(elsewhere + 256, &program.area_reg, sizeof(program.area_reg));
	REQUIRE(zcrx_emu_register(program.emu, 32, (void *)(uintptr_t)ELSEWHERE, 1) == 0);
	memcpy(&program.reg, elsewhere, sizeof(program.reg));
	CHECK_EQ(zcrx_emu_set_cq_at(program.emu, &queue_at), 0);
}

/* Take what is in that queue; how many. */
static uint32_t take_elsewhere(void)
{
	uint32_t count = 0;

	program.cq_entries = queue_at.entries;
	program.cq_tail = *word_elsewhere(queue_at.tail);
	memcpy(program.cqes, elsewhere + (queue_at.cqes - ELSEWHERE),
	       queue_at.entries * (program.options.ring_flags ? 16 : 32));
	while (next_cqe(&program, &cqes[count]))
		count++;
	*word_elsewhere(queue_at.head) = program.cq_head;
	return count;
}

static void check_queue_elsewhere(const char *level, const struct zcrx_emu_memory *memory)
{
	uint8_t bytes[256];
	uint32_t count;

	memset(bytes, 'b', sizeof(bytes));
	start_elsewhere(level, memory);
	program.rqes =
		(struct io_uring_zcrx_rqe *)(void *)(elsewhere + PAGE + program.reg.offsets.rqes);
	program.tail = word_elsewhere(ELSEWHERE + PAGE + program.reg.offsets.tail);
	arm(&program, 1);
	for (uint32_t round = 0; round < 30; round++) {
		CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, 100 + round, NULL),
			 100 + round);
		zcrx_emu_step(program.emu);
		CHECK_EQ(take_elsewhere(), 1);
		CHECK_EQ(cqes[0].res, 100 + (int)round);
		CHECK_EQ(cqes[0].user_data, 1001);
		CHECK_EQ(elsewhere[3 * PAGE + cqes[0].off], 'b');
		give_back(&program, &cqes[0]);
	}
	CHECK_EQ(*word_elsewhere(queue_at.sq_flags), 0);
	/* A queue that is full is told so in the program's flags. */
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, "12", 2, NULL), 2);
	CHECK_EQ(zcrx_emu_end(program.emu, 1), 0);
	zcrx_emu_step(program.emu);
	CHECK_EQ(*word_elsewhere(queue_at.sq_flags), ZCRX_EMU_SQ_CQ_OVERFLOW);
	count = take_elsewhere();
	CHECK_EQ(count, has_mixed(level) ? 4 : 8);
	for (uint32_t i = 0; i < count; i++)
		give_back(&program, &cqes[i]);
	zcrx_emu_step(program.emu);
	CHECK_EQ(*word_elsewhere(queue_at.sq_flags), 0);
	CHECK_EQ(take_elsewhere(), 1);
	CHECK_EQ(cqes[0].res, has_mixed(level) ? -ENOSPC : 0);
	CHECK_EQ(zcrx_emu_close(program.emu, 1), 0);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void queue_elsewhere_is_reached_by_functions(const char *level)
{
	const struct zcrx_emu_memory by_call = {.read = read_elsewhere, .write = write_elsewhere};
	struct zcrx_emu_memory mapped = by_call;

	mapped.map = map_elsewhere;
	check_queue_elsewhere(level, &by_call);
	check_queue_elsewhere(level, &mapped);
}

static void queue_that_is_not_there_is_refused(const char *level)
{
	const struct zcrx_emu_memory memory = {.read = read_elsewhere, .write = write_elsewhere};
	struct zcrx_emu_cq_at cq = queue_at;

	start_elsewhere(level, &memory);
#define REFUSED(field, value)                                             \
	do {                                                              \
		cq = queue_at;                                            \
		cq.field = (value);                                       \
		CHECK_EQ(zcrx_emu_set_cq_at(program.emu, &cq), -EFAULT);  \
		CHECK(strstr(zcrx_emu_why(program.emu), "cqes") != NULL); \
	} while (0)
	REFUSED(head, 0);
	REFUSED(head, queue_at.head + 2);
	REFUSED(tail, 8);
	REFUSED(cqes, ELSEWHERE + sizeof(elsewhere));
	REFUSED(cqes, queue_at.cqes + 4);
	REFUSED(cqes, -64);
	REFUSED(sq_flags, 4);
	cq = queue_at;
	cq.entries = 5;
	CHECK_EQ(zcrx_emu_set_cq_at(program.emu, &cq), -EINVAL);
	cq.entries = 8;
	cq.reserved = 1;
	CHECK_EQ(zcrx_emu_set_cq_at(program.emu, &cq), -EINVAL);
	program_end(&program);
}

/* In this process an address is a pointer, and one that is none is no crash. */
static void own_queue_by_address(const char *level)
{
	struct zcrx_emu_cq_at cq;

	program_start(&program, level, 8, 16);
	cq = (struct zcrx_emu_cq_at){
		.head = (uintptr_t)&program.cq_head,
		.tail = (uintptr_t)&program.cq_tail,
		.cqes = (uintptr_t)program.cqes,
		.entries = CQES,
	};
	CHECK_EQ(zcrx_emu_set_cq_at(program.emu, &cq), 0);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 2 * PAGE, NULL, cqes), 2);
	give_back(&program, &cqes[0]);
	give_back(&program, &cqes[1]);
	cq.tail = 64;
	CHECK_EQ(zcrx_emu_set_cq_at(program.emu, &cq), -EFAULT);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

AT_EACH_LEVEL(data_takes_two_entries_of_a_mixed_ring)
AT_EACH_LEVEL(last_entry_of_a_mixed_ring_is_skipped)
AT_EACH_LEVEL(one_free_entry_of_a_mixed_ring_is_no_room_for_data)
AT_EACH_LEVEL(queue_of_one_entry_holds_no_data_of_mixed_size)
AT_EACH_LEVEL(queue_elsewhere_is_reached_by_functions)
AT_EACH_LEVEL(queue_that_is_not_there_is_refused)
AT_EACH_LEVEL(own_queue_by_address)

CHECK_MAIN(LEVELS(data_takes_two_entries_of_a_mixed_ring),
	   LEVELS(last_entry_of_a_mixed_ring_is_skipped),
	   LEVELS(one_free_entry_of_a_mixed_ring_is_no_room_for_data),
	   LEVELS(queue_of_one_entry_holds_no_data_of_mixed_size),
	   LEVELS(queue_elsewhere_is_reached_by_functions),
	   LEVELS(queue_that_is_not_there_is_refused), LEVELS(own_queue_by_address))
