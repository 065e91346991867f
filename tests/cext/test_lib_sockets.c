/* SPDX-License-Identifier: MIT */
/*
 * What a ring in another process, with real sockets, needs beside the rest: other requests'
 * completions, sockets that keep what finds no room, receives that end by an error of their
 * socket, regions in a file, and an end that comes after the program's own.
 */
#include "lib_program.h"

static struct program program;
static struct zcrx_emu_cqe cqes[CQES];

static void others_completions_stand_in_the_same_queue(const char *level)
{
	const struct zcrx_emu_cqe other = {.user_data = 99, .res = -4, .flags = 2};

	program_init(&program, level, 8, 8);
	program.cq_entries = 2;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(zcrx_emu_post(program.emu, &other), 0);
	CHECK_EQ(program.cq_tail, 2);
	CHECK_EQ(program.sq_flags, 2); /* IORING_SQ_CQ_OVERFLOW */
	CHECK_EQ(program.cqes[1].user_data, 99);
	CHECK_EQ(program.cqes[1].res, -4);
	CHECK_EQ(program.cqes[1].flags, 2);
	/* The third has the room that is made. */
	program.cq_head = 2;
	CHECK_EQ(zcrx_emu_step(program.emu), 1);
	CHECK_EQ(program.cq_tail, 3);
	CHECK_EQ(program.sq_flags, 0);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* Three buffers' worth arrives where two completions have room: the third's goes back. */
static void what_finds_no_room_goes_back(const char *level)
{
	static uint8_t bytes[3 * PAGE];

	program_init(&program, level, 8, 8);
	program.cq_entries = 2;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 5);
	CHECK_EQ(zcrx_emu_is_armed(program.emu, 5), 1);
	CHECK_EQ(zcrx_emu_is_armed(program.emu, 6), 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 5, bytes, sizeof(bytes), NULL), 3 * PAGE);
	zcrx_emu_step(program.emu);
	CHECK_EQ(zcrx_emu_is_armed(program.emu, 5), 0);
	CHECK_EQ(zcrx_emu_withdraw(program.emu, 5), PAGE);
	CHECK_EQ(zcrx_emu_withdraw(program.emu, 5), 0);
	for (int i = 0; i < 2; i++) {
		REQUIRE(next_cqe(&program, &cqes[i]));
		give_back(&program, &cqes[i]);
	}
	CHECK_EQ(zcrx_emu_step(program.emu), 1);
	CHECK_EQ(program.cqes[0].res, -ENOSPC);
	/* Its socket has the bytes: that they wait there is not for the instance to say. */
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void receive_ends_by_its_sockets_error(const char *level)
{
	program_start(&program, level, 8, 8);
	arm(&program, 5);
	arm(&program, 6);
	CHECK_EQ(zcrx_emu_fail(program.emu, 5, -ECONNRESET), 1);
	CHECK_EQ(zcrx_emu_fail(program.emu, 5, -ECONNRESET), 0);
	REQUIRE(next_cqe(&program, &cqes[0]));
	CHECK_EQ(cqes[0].res, -ECONNRESET);
	CHECK_EQ(cqes[0].flags, 0);
	CHECK_EQ(zcrx_emu_is_armed(program.emu, 5), 0);
	CHECK_EQ(zcrx_emu_is_armed(program.emu, 6), 1);
	/* The list of receives is whole: another one is armed behind those that are left. */
	CHECK_EQ(zcrx_emu_fail(program.emu, 6, -ECANCELED), 1);
	REQUIRE(next_cqe(&program, &cqes[0]));
	arm(&program, 7);
	CHECK_EQ(receive(&program, 7, 100, NULL, cqes), 1);
	CHECK_EQ(cqes[0].res, 100);
	give_back(&program, &cqes[0]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static uint8_t *shared;
static uint64_t shared_size;

static void *share(void *context, uint64_t size, uint64_t *offset)
{
	CHECK(context == &program);
	shared_size = size;
	*offset = 0x7000;
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED ? NULL : shared;
}

static void region_of_the_kernel_is_where_its_owner_says(const char *level)
{
	program_init(&program, level, 8, 8);
	program.options.context = &program;
	program.options.share = share;
	program.region_reg.user_addr = 0;
	program.region_reg.flags = 0;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	CHECK_EQ(program.region_reg.mmap_offset, 0x7000);
	CHECK_EQ(shared_size, program.region_reg.size);
	munmap(program.region, PAGE + program.entries * 16);
	program.region = shared;
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 100, NULL, cqes), 1);
	give_back(&program, &cqes[0]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 1);
	CHECK_EQ(*program.head, 1);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	/* The instance unmaps it. */
	zcrx_emu_destroy(program.emu);
	munmap(program.area, (size_t)program.buffers * PAGE);
}

/* A buffer is out, or was returned by an entry that nobody has looked at. */
static void start_late(const char *level)
{
	program_start(&program, level, 8, 8);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 100, NULL, cqes), 1);
	give_back(&program, &cqes[0]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 1);
	CHECK_EQ(receive(&program, 1, 100, NULL, cqes), 1);
}

static void ring_that_is_still_there_is_believed_at_a_late_end(const char *level)
{
	start_late(level);
	CHECK_EQ(zcrx_emu_finish_late(program.emu), 1);
	CHECK_EQ(zcrx_emu_count(program.emu, ZCRX_EMU_NOT_RETURNED), 1);
	program_end(&program);
	start_late(level);
	give_back(&program, &cqes[0]);
	CHECK_EQ(zcrx_emu_finish_late(program.emu), 0);
	program_end(&program);
}

/* Its memory is used for something else: of that no mistake follows. */
static void memory_that_is_no_ring_any_more_is_not_judged(const char *level)
{
	start_late(level);
	memset(program.region, 0x5a, program.region_reg.size);
	memset(program.area, 0x5a, (size_t)program.buffers * PAGE);
	CHECK_EQ(zcrx_emu_finish_late(program.emu), 0);
	program_end(&program);
}

static bool is_frozen;

static int read_own(void *context, void *to, uint64_t from, size_t size)
{
	(void)context;
	memcpy(to, (const void *)(uintptr_t)from, size);
	return 0;
}

static int write_own(void *context, uint64_t to, const void *from, size_t size)
{
	(void)context;
	if (is_frozen)
		return -EFAULT;
	memcpy((void *)(uintptr_t)to, from, size);
	return 0;
}

/* That the head stays where it is, since we may not write it, is no mistake of the program's. */
static void ring_that_may_not_be_written_is_judged_all_the_same(const char *level)
{
	static const struct zcrx_emu_memory memory = {.read = read_own, .write = write_own};

	is_frozen = false;
	program_init(&program, level, 8, 8);
	program.options.memory = &memory;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 100, NULL, cqes), 1);
	give_back(&program, &cqes[0]);
	is_frozen = true;
	CHECK_EQ(zcrx_emu_finish_late(program.emu), 0);
	is_frozen = false;
	program_end(&program);
}

/* A ring that nobody has written to has the header of new memory: the area tells them apart. */
static void empty_ring_is_told_from_new_memory(const char *level)
{
	for (int is_new = 0; is_new <= 1; is_new++) {
		program_start(&program, level, 8, 8);
		memset(program.region, 0, program.region_reg.size);
		arm(&program, 1);
		CHECK_EQ(receive(&program, 1, 100, NULL, cqes), 1);
		memset(program.area, is_new ? 0 : 0x33, (size_t)program.buffers * PAGE);
		CHECK_EQ(zcrx_emu_finish_late(program.emu), is_new ? 0 : 1);
		program_end(&program);
	}
}

AT_EACH_LEVEL(others_completions_stand_in_the_same_queue)
AT_EACH_LEVEL(what_finds_no_room_goes_back)
AT_EACH_LEVEL(receive_ends_by_its_sockets_error)
AT_EACH_LEVEL(region_of_the_kernel_is_where_its_owner_says)
AT_EACH_LEVEL(ring_that_is_still_there_is_believed_at_a_late_end)
AT_EACH_LEVEL(memory_that_is_no_ring_any_more_is_not_judged)
AT_EACH_LEVEL(empty_ring_is_told_from_new_memory)
AT_EACH_LEVEL(ring_that_may_not_be_written_is_judged_all_the_same)

CHECK_MAIN(LEVELS(others_completions_stand_in_the_same_queue), LEVELS(what_finds_no_room_goes_back),
	   LEVELS(receive_ends_by_its_sockets_error),
	   LEVELS(region_of_the_kernel_is_where_its_owner_says),
	   LEVELS(ring_that_is_still_there_is_believed_at_a_late_end),
	   LEVELS(memory_that_is_no_ring_any_more_is_not_judged),
	   LEVELS(empty_ring_is_told_from_new_memory),
	   LEVELS(ring_that_may_not_be_written_is_judged_all_the_same))
