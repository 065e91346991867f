/* SPDX-License-Identifier: MIT */
/*
 * From delivery to completions and back: the bytes are those that were sent, in the shape
 * that was asked for; receives end as the kernel ends them; buffers come home.
 */
#include "lib_program.h"

#include <pthread.h>

static struct program program;
static struct zcrx_emu_cqe cqes[256];

static void whole_buffers_are_given_and_come_home(const char *level)
{
	struct zcrx_emu_cqe last;

	program_start(&program, level, 8, 16);
	arm(&program, 1);
	for (uint32_t round = 0; round < 100; round++) {
		CHECK_EQ(receive(&program, 1, 2 * PAGE + 100, NULL, cqes), 3);
		CHECK_EQ(cqes[0].res, PAGE);
		CHECK_EQ(cqes[2].res, 100);
		for (uint32_t i = 0; i < 3; i++) {
			CHECK_EQ(cqes[i].flags, 2);
			CHECK_EQ(cqes[i].user_data, 1001);
			CHECK_EQ(cqes[i].off % PAGE, 0);
			CHECK_EQ(cqes[i].pad, 0);
			CHECK(program.area[cqes[i].off] == 'b' &&
			      program.area[cqes[i].off + (uint32_t)cqes[i].res - 1] == 'b');
			give_back(&program, &cqes[i]);
		}
	}
	CHECK_EQ(zcrx_emu_end(program.emu, 1), 0);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &last));
	CHECK_EQ(last.res, 0);
	CHECK_EQ(last.flags, 0);
	CHECK_EQ(last.user_data, 1001);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void shape_cuts_as_it_says(const char *level)
{
	struct zcrx_emu_shape shape = {
		.fragment_min = 100,
		.fragment_max = 700,
		.offset_min = 32,
		.offset_max = 64,
		.per_buffer = 3,
	};
	uint32_t count, shared = 0, total = 0;

	program_start(&program, level, 32, 64);
	arm(&program, 1);
	count = receive(&program, 1, 10000, &shape, cqes);
	for (uint32_t i = 0; i < count; i++) {
		CHECK(cqes[i].res <= 700 && (cqes[i].res >= 100 || i == count - 1));
		CHECK(cqes[i].off % PAGE >= 32);
		CHECK(cqes[i].off % PAGE + (uint32_t)cqes[i].res <= PAGE);
		shared += i && cqes[i].off / PAGE == cqes[i - 1].off / PAGE;
		total += (uint32_t)cqes[i].res;
		give_back(&program, &cqes[i]);
	}
	CHECK_EQ(total, 10000);
	CHECK(shared >= count / 2);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void same_seed_same_cuts(const char *level)
{
	struct zcrx_emu_shape shape = {
		.fragment_min = 1, .fragment_max = PAGE, .per_buffer = 4, .copy_percent = 30};
	struct zcrx_emu_cqe again[256];
	uint32_t count;

	for (uint32_t round = 0; round < 2; round++) {
		program_start(&program, level, 64, 64);
		arm(&program, 1);
		count = receive(&program, 1, 40000, &shape, round ? again : cqes);
		program_end(&program);
	}
	CHECK_BYTES(again, cqes, count * sizeof(cqes[0]));
}

static void impossible_shapes_are_refused(const char *level)
{
	struct zcrx_emu_shape shape = {.fragment_max = PAGE + 1};
	uint8_t byte = 0;

	program_start(&program, level, 8, 16);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &byte, 1, &shape), -EINVAL);
	shape = (struct zcrx_emu_shape){.fragment_min = 8, .fragment_max = 4};
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &byte, 1, &shape), -EINVAL);
	shape = (struct zcrx_emu_shape){.offset_max = PAGE};
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &byte, 1, &shape), -EINVAL);
	shape = (struct zcrx_emu_shape){.copy_percent = 101};
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &byte, 1, &shape), -EINVAL);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 7, 1, &byte, 1, NULL), -ENXIO);
	CHECK_EQ(zcrx_emu_end(program.emu, 1), 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &byte, 1, NULL), -EPIPE);
	program_end(&program);
}

static void nic_without_buffers_drops_until_they_come_back(const char *level)
{
	uint8_t bytes[4 * PAGE] = {0};
	struct zcrx_emu_cqe cqe;

	program_start(&program, level, 3, 16);
	arm(&program, 1);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), NULL), 3 * PAGE);
	CHECK_EQ(zcrx_emu_step(program.emu), 3);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, 1, NULL), 0);
	REQUIRE(next_cqe(&program, &cqe));
	give_back(&program, &cqe);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, 1, NULL), 1);
	zcrx_emu_step(program.emu);
	for (uint32_t i = 0; i < 3 && next_cqe(&program, &cqe); i++)
		give_back(&program, &cqe);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void full_queue_ends_the_receive_with_enospc(const char *level)
{
	struct zcrx_emu_cqe cqe;
	uint32_t count;

	program_init(&program, level, 8, 16);
	program.cq_entries = 2;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 3 * PAGE, NULL, cqes), 2);
	/* The last completion of the receive waits for room, and is said to. */
	CHECK_EQ(program.sq_flags, 2);
	zcrx_emu_step(program.emu);
	CHECK_EQ(program.sq_flags, 0);
	REQUIRE(next_cqe(&program, &cqe));
	CHECK_EQ(cqe.res, -ENOSPC);
	CHECK_EQ(cqe.flags, 0);
	CHECK(!next_cqe(&program, &cqe));
	/* Armed again it goes on with the very next byte. */
	arm(&program, 1);
	zcrx_emu_step(program.emu);
	for (count = 2; next_cqe(&program, &cqes[count]); count++)
		;
	CHECK_EQ(count, 3);
	for (uint32_t i = 0; i < count; i++)
		give_back(&program, &cqes[i]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void copy_without_a_buffer_ends_the_receive_with_enomem(const char *level)
{
	struct zcrx_emu_shape copied = {.copy_percent = 100};

	program_start(&program, level, 2, 16);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 3 * PAGE, &copied, cqes), 3);
	CHECK_EQ(cqes[1].res, PAGE);
	CHECK_EQ(cqes[2].res, -ENOMEM);
	give_back(&program, &cqes[0]);
	give_back(&program, &cqes[1]);
	/* What came back helps a copy only once the ring was judged: copies never do that. */
	arm(&program, 1);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &cqes[2]));
	CHECK_EQ(cqes[2].res, -ENOMEM);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 2);
	arm(&program, 1);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &cqes[2]));
	CHECK_EQ(cqes[2].res, PAGE);
	give_back(&program, &cqes[2]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void limit_ends_the_receive_within_a_fragment(const char *level)
{
	struct zcrx_emu_recv recv = {.flow = 1, .user_data = 5, .limit = 100};
	uint32_t count;

	program_start(&program, level, 8, 16);
	CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
	CHECK_EQ(receive(&program, 1, 300, NULL, cqes), 2);
	CHECK_EQ(cqes[0].res, 100);
	CHECK_EQ(cqes[1].res, 0);
	CHECK_EQ(cqes[1].flags, 0);
	give_back(&program, &cqes[0]);
	recv.limit = 0;
	CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
	count = zcrx_emu_step(program.emu);
	CHECK_EQ(count, 1);
	REQUIRE(next_cqe(&program, &cqes[1]));
	CHECK_EQ(cqes[1].res, 200);
	CHECK_EQ(cqes[1].off, cqes[0].off + 100);
	give_back(&program, &cqes[1]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void unknown_queue_is_said_by_the_completion(const char *level)
{
	struct zcrx_emu_recv recv = {.zcrx_id = 3, .flow = 1, .user_data = 5};
	struct zcrx_emu_cqe cqe;

	program_start(&program, level, 8, 16);
	CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
	REQUIRE(next_cqe(&program, &cqe));
	CHECK_EQ(cqe.res, -EINVAL);
	CHECK_EQ(cqe.user_data, 5);
	program_end(&program);
}

static void closed_flow_gives_its_buffers_up(const char *level)
{
	uint8_t bytes[2 * PAGE] = {0};

	program_start(&program, level, 2, 16);
	arm(&program, 1);
	for (uint32_t i = 0; i < 100; i++) {
		CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), NULL), 2 * PAGE);
		CHECK_EQ(zcrx_emu_close(program.emu, 1), 0);
		CHECK_EQ(zcrx_emu_step(program.emu), 0);
		arm(&program, 1);
	}
	CHECK_EQ(zcrx_emu_close(program.emu, 2), -ENOENT);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void returned_buffer_is_poisoned(const char *level)
{
	program_start(&program, level, 8, 16);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, PAGE, NULL, cqes), 1);
	CHECK_EQ(program.area[cqes[0].off + 17], 'b');
	give_back(&program, &cqes[0]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 1);
	CHECK_EQ(program.area[cqes[0].off + 17], 0xdb);
	program_end(&program);

	program_init(&program, level, 8, 16);
	program.options.flags = ZCRX_EMU_NO_POISON | ZCRX_EMU_EAGER;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, PAGE, NULL, cqes), 1);
	give_back(&program, &cqes[0]);
	zcrx_emu_step(program.emu);
	CHECK_EQ(*program.head, 1);
	CHECK_EQ(program.area[cqes[0].off + 17], 'b');
	program_end(&program);
}

static void instance_without_a_device_copies_all(const char *level)
{
	if (strcmp(level, "seed") == 0 || level[0] < '7')
		return;
	program_init(&program, level, 4, 16);
	program.reg.flags = 2;
	program.reg.if_idx = 0;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 5 * PAGE, NULL, cqes), 5);
	CHECK_EQ(cqes[3].res, PAGE);
	CHECK_EQ(cqes[4].res, -ENOMEM);
	for (uint32_t i = 0; i < 4; i++) {
		CHECK_EQ(program.area[cqes[i].off], 'b');
		give_back(&program, &cqes[i]);
	}
	program_end(&program);
}

/* A row of malformed entries: each call goes on behind the one that ended the last. */
static void flush_judges_all_up_to_a_malformed_entry(const char *level)
{
	struct zcrx_ctrl ctrl = {.op = 0};

	if (strcmp(level, "seed") == 0 || level[0] < '7')
		return;
	program_start(&program, level, 8, 16);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 3 * PAGE, NULL, cqes), 3);
	give_back(&program, &cqes[0]);
	put_rqe(&program, 0, 0, 1);
	give_back(&program, &cqes[1]);
	give_back(&program, &cqes[2]);
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), 0);
	CHECK_EQ(*program.head, 2);
	CHECK_EQ(program.area[cqes[0].off], 0xdb);
	CHECK_EQ(program.area[cqes[1].off], 'b');
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), 0);
	CHECK_EQ(*program.head, 4);
	CHECK_EQ(program.area[cqes[2].off], 0xdb);
	ctrl.payload[5] = 1;
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EINVAL);
	check_found(&program, ZCRX_EMU_BAD_PAD, 1);
	CHECK_EQ(zcrx_emu_finish(program.emu), 1);
	program_end(&program);
}

/* More than a refill takes: each entry is judged by what it says, and told. */
static void flush_judges_a_whole_ring(const char *level)
{
	struct zcrx_emu_shape shape = {.fragment_max = 4, .per_buffer = 1000};
	struct zcrx_ctrl ctrl = {.op = 0};
	uint32_t count = 0;

	if (strcmp(level, "seed") == 0 || level[0] < '7')
		return;
	program_start(&program, level, 4, 2048);
	arm(&program, 1);
	while (count < 2000) {
		uint32_t now = receive(&program, 1, 40 * 4, &shape, cqes);

		for (uint32_t i = 0; i < now; i++)
			give_back(&program, &cqes[i]);
		count += now;
	}
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), 0);
	CHECK_EQ(*program.head, count);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void larger_buffers_hold_larger_fragments(const char *level)
{
	if (strcmp(level, "seed") == 0 || level[0] < '7')
		return;
	program_init(&program, level, 8, 16);
	/* Anonymous memory begins anywhere: find what a piece of 16 KiB may begin at. */
	program.area_reg.addr = (program.area_reg.addr + 4 * PAGE - 1) / (4 * PAGE) * (4 * PAGE);
	program.area_reg.len = 4 * PAGE;
	program.reg.rx_buf_len = 4 * PAGE;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	CHECK_EQ(program.reg.rx_buf_len, 4 * PAGE);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 4 * PAGE, NULL, cqes), 1);
	CHECK_EQ(cqes[0].res, 4 * PAGE);
	give_back(&program, &cqes[0]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* ---- callbacks, threads ------------------------------------------------------------------ */

static uint32_t taken;
static int room;

static int on_cqe(void *context, const struct zcrx_emu_cqe *cqe)
{
	struct program *self = context;

	if (room-- <= 0)
		return 1;
	taken++;
	/* At work: some may be called, some not. */
	CHECK_EQ(zcrx_emu_step(self->emu), -EBUSY);
	if (cqe->res > 0)
		give_back(self, cqe);
	else if (cqe->res == -ENOSPC)
		arm(self, 1);
	return 0;
}

static void callback_takes_completions_or_not(const char *level)
{
	uint8_t bytes[6 * PAGE] = {0};

	program_init(&program, level, 8, 16);
	program.options.on_cqe = on_cqe;
	program.options.context = &program;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	program.tail = (uint32_t *)(void *)(program.region + program.reg.offsets.tail);
	program.rqes =
		(struct io_uring_zcrx_rqe *)(void *)(program.region + program.reg.offsets.rqes);
	arm(&program, 1);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), NULL), 6 * PAGE);
	taken = 0;
	room = 4;
	zcrx_emu_step(program.emu);
	CHECK_EQ(taken, 4);
	room = 10;
	/* The -ENOSPC, the receive that is armed for it, and the two that are left. */
	zcrx_emu_step(program.emu);
	CHECK_EQ(taken, 7);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static int arm_always(void *context, const struct zcrx_emu_cqe *cqe)
{
	struct zcrx_emu_recv unknown = {.zcrx_id = 9, .flow = 1};
	struct program *self = context;

	taken++;
	if (cqe->res == -ENOMEM)
		arm(self, 1);
	if (cqe->res == -EINVAL)
		CHECK_EQ(zcrx_emu_arm(self->emu, &unknown), 0);
	return 0;
}

static void callback_that_always_arms_anew_ends_no_step(const char *level)
{
	struct zcrx_emu_shape copied = {.copy_percent = 100};
	struct zcrx_emu_recv unknown = {.zcrx_id = 9, .flow = 1};
	uint8_t bytes[3 * PAGE] = {0};

	program_init(&program, level, 2, 16);
	program.options.on_cqe = arm_always;
	program.options.context = &program;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	arm(&program, 1);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), &copied), 3 * PAGE);
	taken = 0;
	zcrx_emu_step(program.emu);
	CHECK_EQ(taken, 3);
	zcrx_emu_step(program.emu);
	CHECK_EQ(taken, 4);
	CHECK_EQ(zcrx_emu_arm(program.emu, &unknown), 0);
	CHECK_EQ(taken, 5);
	zcrx_emu_step(program.emu);
	CHECK_EQ(taken, 6);
	program_end(&program);
}

static void thread_of_ours_is_the_kernel(const char *level)
{
	const uint64_t total = CHECK_REPEAT(2000) * (uint64_t)PAGE;
	uint8_t bytes[4 * PAGE];
	uint64_t sent = 0, received = 0, before = 0;
	struct patience patience = {0};
	struct zcrx_emu_cqe cqe;

	memset(bytes, 'x', sizeof(bytes));
	program_start(&program, level, 8, 8);
	arm(&program, 1);
	CHECK_EQ(zcrx_emu_start(program.emu), 0);
	CHECK_EQ(zcrx_emu_start(program.emu), -EALREADY);
	/* It gives its turn away only when there is nothing for it. */
	while (received < total &&
	       (received > before ? work_more(&patience) : wait_more(&patience))) {
		before = received;
		if (sent < total) {
			size_t size = total - sent < sizeof(bytes) ? total - sent : sizeof(bytes);
			int64_t now = zcrx_emu_deliver(program.emu, 0, 1, bytes, size, NULL);

			CHECK(now >= 0);
			sent += (uint64_t)now;
		}
		while (next_cqe(&program, &cqe)) {
			REQUIRE(cqe.res > 0);
			CHECK_EQ(program.area[cqe.off], 'x');
			received += (uint64_t)cqe.res;
			while (program.my_tail - __atomic_load_n(program.head, __ATOMIC_ACQUIRE) >=
			       program.entries)
				zcrx_emu_drain(program.emu, 0);
			give_back(&program, &cqe);
		}
	}
	CHECK_EQ(received, total);
	CHECK_EQ(zcrx_emu_stop(program.emu), 0);
	CHECK_EQ(zcrx_emu_stop(program.emu), 0);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

AT_EACH_LEVEL(whole_buffers_are_given_and_come_home)
AT_EACH_LEVEL(shape_cuts_as_it_says)
AT_EACH_LEVEL(same_seed_same_cuts)
AT_EACH_LEVEL(impossible_shapes_are_refused)
AT_EACH_LEVEL(nic_without_buffers_drops_until_they_come_back)
AT_EACH_LEVEL(full_queue_ends_the_receive_with_enospc)
AT_EACH_LEVEL(copy_without_a_buffer_ends_the_receive_with_enomem)
AT_EACH_LEVEL(limit_ends_the_receive_within_a_fragment)
AT_EACH_LEVEL(unknown_queue_is_said_by_the_completion)
AT_EACH_LEVEL(closed_flow_gives_its_buffers_up)
AT_EACH_LEVEL(returned_buffer_is_poisoned)
AT_EACH_LEVEL(instance_without_a_device_copies_all)
AT_EACH_LEVEL(flush_judges_all_up_to_a_malformed_entry)
AT_EACH_LEVEL(flush_judges_a_whole_ring)
AT_EACH_LEVEL(larger_buffers_hold_larger_fragments)
AT_EACH_LEVEL(callback_takes_completions_or_not)
AT_EACH_LEVEL(callback_that_always_arms_anew_ends_no_step)
AT_EACH_LEVEL(thread_of_ours_is_the_kernel)

CHECK_MAIN(LEVELS(whole_buffers_are_given_and_come_home), LEVELS(shape_cuts_as_it_says),
	   LEVELS(same_seed_same_cuts), LEVELS(impossible_shapes_are_refused),
	   LEVELS(nic_without_buffers_drops_until_they_come_back),
	   LEVELS(full_queue_ends_the_receive_with_enospc),
	   LEVELS(copy_without_a_buffer_ends_the_receive_with_enomem),
	   LEVELS(limit_ends_the_receive_within_a_fragment),
	   LEVELS(unknown_queue_is_said_by_the_completion),
	   LEVELS(closed_flow_gives_its_buffers_up), LEVELS(returned_buffer_is_poisoned),
	   LEVELS(instance_without_a_device_copies_all),
	   LEVELS(flush_judges_all_up_to_a_malformed_entry), LEVELS(flush_judges_a_whole_ring),
	   LEVELS(larger_buffers_hold_larger_fragments), LEVELS(callback_takes_completions_or_not),
	   LEVELS(callback_that_always_arms_anew_ends_no_step),
	   LEVELS(thread_of_ours_is_the_kernel))
