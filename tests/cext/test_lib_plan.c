/* SPDX-License-Identifier: MIT */
/*
 * Faults by a plan's text in a ring of a program's own: each does what it says, a right
 * program survives it without a report, and what fired happens again.
 */
#include <string.h>

#include "lib_program.h"

static void plan(struct program *program, const char *text)
{
	char why[640] = "";

	CHECK_EQ(zcrx_emu_plan(program->emu, text, why, sizeof(why)), 0);
	CHECK(why[0] == '\0');
}

static void check_journal(struct program *program, const char *expected)
{
	char text[1024];

	CHECK_EQ(zcrx_emu_journal(program->emu, text, sizeof(text)), strlen(expected));
	CHECK(strcmp(text, expected) == 0);
	if (strcmp(text, expected))
		fprintf(stderr, "journal: %s\n", text);
}

static int64_t deliver(struct program *program, uint32_t flow, size_t size)
{
	static const uint8_t bytes[8 * PAGE];

	return zcrx_emu_deliver(program->emu, 0, flow, bytes, size, NULL);
}

/* The next completion's result, once a step was made; 1000000 if there is none. */
static int32_t result(struct program *program)
{
	struct zcrx_emu_cqe cqe;

	zcrx_emu_step(program->emu);
	if (!next_cqe(program, &cqe))
		return 1000000;
	if (cqe.res > 0)
		give_back(program, &cqe);
	return cqe.res;
}

static void program_with(struct program *program, const char *level, const char *text)
{
	program_start(program, level, 8, 16);
	plan(program, text);
	arm(program, 1);
}

/* Nothing that a plan does is the program's mistake. */
static void check_innocent(struct program *program)
{
	CHECK_EQ(zcrx_emu_finish(program->emu), 0);
	program_end(program);
}

static void dropped_packet_does_not_arrive(const char *level)
{
	struct program program;

	program_with(&program, level, "nic-drop:at=1");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(deliver(&program, 1, 200), 0);
	CHECK_EQ(deliver(&program, 1, 200), 200);
	CHECK_EQ(result(&program), 100);
	CHECK_EQ(result(&program), 200);
	check_journal(&program, "nic-drop:at=1:queue=0");
	check_innocent(&program);
}

static void truncated_packet_arrives_in_part(const char *level)
{
	struct program program;
	int64_t taken;

	program_with(&program, level, "nic-truncate:at=0:keep=10");
	taken = deliver(&program, 1, 100);
	CHECK(taken >= 10 && taken < 100);
	CHECK_EQ(result(&program), taken);
	/* What is not longer than that is not touched, and not counted. */
	plan(&program, "nic-truncate:1:keep=10");
	CHECK_EQ(deliver(&program, 1, 10), 10);
	CHECK_EQ(result(&program), 10);
	check_journal(&program, "none");
	check_innocent(&program);
}

static void one_bit_of_a_packet_is_not_as_it_was_sent(const char *level)
{
	struct zcrx_emu_cqe cqe;
	struct program program;
	uint32_t bits = 0;

	program_with(&program, level, "nic-corrupt:at=1");
	for (uint32_t packet = 0; packet < 3; packet++) {
		/* Of several fragments: any of them may have it. */
		CHECK_EQ(deliver(&program, 1, 2 * PAGE), 2 * PAGE);
		zcrx_emu_step(program.emu);
		bits = 0;
		for (uint32_t fragment = 0; fragment < 2; fragment++) {
			REQUIRE(next_cqe(&program, &cqe));
			for (int32_t at = 0; at < cqe.res; at++)
				bits += (uint32_t)__builtin_popcount(program.area[cqe.off + at]);
			give_back(&program, &cqe);
		}
		CHECK_EQ(bits, packet == 1);
	}
	check_journal(&program, "nic-corrupt:at=1:queue=0");
	check_innocent(&program);
}

static void packet_comes_twice_in_bytes_of_its_own(const char *level)
{
	struct zcrx_emu_cqe first, second;
	struct program program;

	program_with(&program, level, "nic-duplicate:at=0");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(zcrx_emu_step(program.emu), 2);
	REQUIRE(next_cqe(&program, &first) && next_cqe(&program, &second));
	CHECK_EQ(first.res, 100);
	CHECK_EQ(second.res, 100);
	CHECK(first.off != second.off);
	give_back(&program, &first);
	give_back(&program, &second);
	CHECK_EQ(deliver(&program, 1, 200), 200);
	CHECK_EQ(result(&program), 200);
	CHECK_EQ(result(&program), 1000000);
	check_journal(&program, "nic-duplicate:at=0:queue=0");
	/* What came once more is none of what the socket takes back. */
	plan(&program, "nic-duplicate:1");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(zcrx_emu_withdraw(program.emu, 1), 100);
	CHECK_EQ(result(&program), 1000000);
	check_innocent(&program);
}

static void packet_is_overtaken(const char *level)
{
	struct program program;

	program_with(&program, level, "nic-reorder:at=0+1:distance=2");
	CHECK_EQ(deliver(&program, 1, 10), 10);
	CHECK_EQ(result(&program), 1000000);
	/* One at a time: of this one the rule does nothing, and it is not counted. */
	CHECK_EQ(deliver(&program, 1, 20), 20);
	CHECK_EQ(deliver(&program, 1, 30), 30);
	CHECK_EQ(deliver(&program, 1, 40), 40);
	CHECK_EQ(result(&program), 20);
	CHECK_EQ(result(&program), 30);
	CHECK_EQ(result(&program), 10);
	CHECK_EQ(result(&program), 40);
	check_journal(&program, "nic-reorder:at=0:distance=2:queue=0");
	check_innocent(&program);
}

static void overtaken_packet_waits_for_no_more_than_come(const char *level)
{
	struct program program;

	program_with(&program, level, "nic-reorder:1");
	CHECK_EQ(deliver(&program, 1, 10), 10);
	CHECK_EQ(zcrx_emu_withdraw(program.emu, 1), 10);
	CHECK_EQ(deliver(&program, 1, 20), 20);
	CHECK_EQ(zcrx_emu_close(program.emu, 1), 0);
	arm(&program, 1);
	CHECK_EQ(deliver(&program, 1, 30), 30);
	for (uint32_t turn = 0; turn < 64; turn++)
		CHECK_EQ(result(&program), 1000000);
	CHECK_EQ(result(&program), 30);
	CHECK_EQ(deliver(&program, 1, 40), 40);
	CHECK_EQ(zcrx_emu_end(program.emu, 1), 0);
	CHECK_EQ(result(&program), 40);
	CHECK_EQ(result(&program), 0);
	/* One that is not there yet when the ring goes. */
	CHECK_EQ(deliver(&program, 2, 50), 50);
	check_innocent(&program);
}

/* Of three packets of a page the buffers, in this order. */
static void buffers_of(const char *level, const char *text, uint64_t *buffers)
{
	struct zcrx_emu_cqe cqe;
	struct program program;

	program_with(&program, level, text);
	CHECK_EQ(deliver(&program, 1, 3 * PAGE), 3 * PAGE);
	zcrx_emu_step(program.emu);
	for (uint32_t i = 0; i < 3; i++) {
		REQUIRE(next_cqe(&program, &cqe));
		buffers[i] = cqe.off / PAGE;
		give_back(&program, &cqe);
	}
	/* Held or not, none is missing when there are no others. */
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 8 * PAGE);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(result(&program), PAGE);
	check_innocent(&program);
}

static void buffers_are_held_back_for_a_while(const char *level)
{
	uint64_t as_ever[3], held[3];
	struct program program;

	buffers_of(level, "none", as_ever);
	buffers_of(level, "nic-hold:at=0:count=2:packets=1", held);
	CHECK_EQ(held[0], as_ever[2]);
	program_with(&program, level, "nic-hold:1:count=2:packets=2");
	for (uint32_t packet = 0; packet < 5; packet++)
		CHECK_EQ(deliver(&program, 1, 100), 100);
	/* Those of the first went back when two more had come; the next ones are held by then. */
	check_journal(&program, "nic-hold:at=0+3:count=2:packets=2:queue=0");
	for (uint32_t packet = 0; packet < 5; packet++)
		CHECK_EQ(result(&program), 100);
	check_innocent(&program);
}

/* What is returned belongs to the pool that went: only its worker brings it to the freelist. */
static void page_pool_is_replaced(const char *level)
{
	struct program program;

	program_with(&program, level, "queue-restart:at=1");
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 8 * PAGE);
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(deliver(&program, 1, 200), 0);
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(deliver(&program, 1, 200), 200);
	check_journal(&program, "queue-restart:at=1:queue=0");
	for (uint32_t i = 0; i < 5; i++)
		CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(result(&program), 100);
	CHECK_EQ(result(&program), 200);
	check_innocent(&program);
}

/* More of them than there are places for pools: those that were late come, and none is lost. */
static void restarts_wait_for_a_place(const char *level)
{
	struct zcrx_emu_cqe held[8];
	struct program program;

	program_with(&program, level, "queue-restart:every=1");
	for (uint32_t i = 0; i < 8; i++) {
		CHECK_EQ(deliver(&program, 1, PAGE), PAGE);
		zcrx_emu_step(program.emu);
		REQUIRE(next_cqe(&program, &held[i]));
	}
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(zcrx_emu_step(program.emu), 0);
	for (uint32_t i = 0; i < 8; i++)
		give_back(&program, &held[i]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 8);
	zcrx_emu_step(program.emu);
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 8 * PAGE);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(result(&program), PAGE);
	check_innocent(&program);
}

/* All buffers are the kernel's again while the program holds them; its returns are no mistake. */
static void references_are_taken_from_under_the_program(const char *level)
{
	struct zcrx_emu_cqe held[8];
	struct program program;

	program_with(&program, level, "scrub-midway:at=1");
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 8 * PAGE);
	CHECK_EQ(zcrx_emu_step(program.emu), 8);
	for (uint32_t i = 0; i < 8; i++)
		REQUIRE(next_cqe(&program, &held[i]));
	CHECK_EQ(deliver(&program, 1, 100), 0);
	CHECK_EQ(zcrx_emu_step(program.emu), 0);
	check_journal(&program, "scrub-midway:at=1:queue=0");
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 8 * PAGE);
	CHECK_EQ(zcrx_emu_step(program.emu), 8);
	/* The first four take the references of what was given since. */
	for (uint32_t i = 0; i < 4; i++)
		give_back(&program, &held[i]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 4);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(result(&program), PAGE);
	for (uint32_t i = 4; i < 8; i++)
		give_back(&program, &held[i]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 12);
	check_innocent(&program);
}

/* A buffer of which nothing was out is believed as little as ever. */
static void scrub_excuses_nobody_else(const char *level)
{
	struct zcrx_emu_cqe given, other;
	struct program program;

	program_with(&program, level, "scrub-midway:at=1");
	CHECK_EQ(deliver(&program, 1, 2 * PAGE), 2 * PAGE);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &given) && next_cqe(&program, &other));
	give_back(&program, &given);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 1);
	zcrx_emu_step(program.emu);
	give_back(&program, &given);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 1);
	check_found(&program, ZCRX_EMU_TWICE, 1);
	program_end(&program);
}

static void tiny_fragments_come_first(const char *level)
{
	struct program program;

	program_with(&program, level, "nic-tiny:at=0:fragments=3");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(result(&program), 1);
	CHECK_EQ(result(&program), 1);
	CHECK_EQ(result(&program), 1);
	CHECK_EQ(result(&program), 97);
	check_journal(&program, "nic-tiny:at=0:fragments=3:queue=0");
	check_innocent(&program);
}

static void receive_ends_as_if_the_queue_were_full(const char *level)
{
	struct program program;

	program_with(&program, level, "cq-full:at=0");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(result(&program), -ENOSPC);
	arm(&program, 1);
	CHECK_EQ(result(&program), 100);
	check_innocent(&program);
}

static void reset_ends_the_receive_once_all_is_read(const char *level)
{
	struct program program;

	program_with(&program, level, "conn-reset:at=1");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(deliver(&program, 1, 100), 0);
	CHECK_EQ(deliver(&program, 1, 100), -EPIPE);
	CHECK_EQ(result(&program), 100);
	CHECK_EQ(result(&program), -ECONNRESET);
	/* Another connection may have the number. */
	CHECK_EQ(zcrx_emu_close(program.emu, 1), 0);
	arm(&program, 1);
	CHECK_EQ(deliver(&program, 1, 50), 50);
	CHECK_EQ(result(&program), 50);
	check_innocent(&program);
}

static void allocation_that_fails_is_tried_again_under_its_number(const char *level)
{
	struct program program;

	program_with(&program, level, "alloc-fail:at=1:count=2");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(deliver(&program, 1, 100), 0);
	CHECK_EQ(deliver(&program, 1, 100), 0);
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(result(&program), 100);
	CHECK_EQ(result(&program), 100);
	check_journal(&program, "alloc-fail:at=1:count=2:queue=0");
	check_innocent(&program);
}

static void buffers_come_from_the_refill_ring_alone(const char *level)
{
	struct program program;

	program_with(&program, level, "freelist-empty:at=0:count=4096");
	CHECK_EQ(deliver(&program, 1, 100), 0);
	plan(&program, NULL);
	check_innocent(&program);
}

/* All buffers are out; the one that came back is not seen. */
static void refill_ring_is_looked_at_late(const char *level)
{
	struct program program;

	program_with(&program, level, "none");
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 8 * PAGE);
	plan(&program, "rq-late:at=0:count=2");
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(deliver(&program, 1, 100), 0);
	CHECK_EQ(deliver(&program, 1, 100), 0);
	CHECK_EQ(deliver(&program, 1, 100), 100);
	for (uint32_t i = 0; i < 7; i++)
		CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(result(&program), 100);
	check_innocent(&program);
}

static void completions_come_late_and_together(const char *level)
{
	struct program program;
	struct zcrx_emu_cqe cqe;

	program_with(&program, level, "recv-late:at=0:steps=2");
	CHECK_EQ(deliver(&program, 1, 100), 100);
	CHECK_EQ(zcrx_emu_step(program.emu), 0);
	CHECK_EQ(deliver(&program, 1, 200), 200);
	CHECK_EQ(zcrx_emu_step(program.emu), 0);
	CHECK_EQ(zcrx_emu_step(program.emu), 2);
	while (next_cqe(&program, &cqe))
		give_back(&program, &cqe);
	check_journal(&program, "recv-late:at=0:steps=2");
	check_innocent(&program);
}

static void each_step_of_registering_can_fail(const char *level)
{
	for (uint32_t step = 0; step < 4; step++) {
		const struct io_uring_zcrx_ifq_reg right = {.rq_entries = 16};
		struct program program;
		char text[32];

		program_init(&program, level, 8, 16);
		program_create(&program);
		snprintf(text, sizeof(text), "setup-fail:at=%u", step);
		plan(&program, text);
		program.reg.rq_entries = right.rq_entries;
		CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), step < 3 ? -ENOMEM : 0);
		if (step < 3) {
			CHECK(strstr(zcrx_emu_why(program.emu), "by the plan"));
			/* What was refused left nothing behind. */
			program.region_reg.mmap_offset = 0;
			CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
		}
		program_end(&program);
	}
}

static void area_has_fewer_buffers_than_it_could(const char *level)
{
	struct program program;

	program_init(&program, level, 8, 16);
	program_create(&program);
	plan(&program, "tiny-area:1:buffers=3");
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 3 * PAGE);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(deliver(&program, 1, 8 * PAGE), 3 * PAGE);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(result(&program), PAGE);
	check_journal(&program, "tiny-area:at=0:buffers=3");
	check_innocent(&program);
}

static void right_registration_is_refused_by_the_driver(const char *level)
{
	struct program program;

	program_init(&program, level, 8, 16);
	program_create(&program);
	plan(&program, "register-fail:at=0,register-fail:at=1:errno=16");
	/* One that is wrong does not come that far. */
	program.reg.rq_entries = 0;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), -EINVAL);
	program.reg.rq_entries = 16;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), -EOPNOTSUPP);
	CHECK(strstr(zcrx_emu_why(program.emu), "by the plan"));
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), -EBUSY);
	/* What was refused left nothing behind. */
	program.region_reg.mmap_offset = 0;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	check_journal(&program, "register-fail:at=0,register-fail:at=1:errno=16");
	check_innocent(&program);
}

static void receive_ends_after_a_few_completions(const char *level)
{
	struct program program;

	program_with(&program, level, "short-multishot:at=0:completions=2");
	CHECK_EQ(deliver(&program, 1, 3 * PAGE), 3 * PAGE);
	CHECK_EQ(zcrx_emu_ended(program.emu, 1), 0);
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(result(&program), -ENOSPC);
	CHECK_EQ(zcrx_emu_ended(program.emu, 1), -ENOSPC);
	arm(&program, 1);
	CHECK_EQ(result(&program), PAGE);
	check_innocent(&program);
}

static void copy_finds_no_buffer(const char *level)
{
	static const struct zcrx_emu_shape copies = {.copy_percent = 100};
	static const uint8_t bytes[2 * PAGE];
	struct program program;

	program_with(&program, level, "copy-fail:at=1");
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), &copies), sizeof(bytes));
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(result(&program), -ENOMEM);
	arm(&program, 1);
	CHECK_EQ(result(&program), PAGE);
	CHECK_EQ(zcrx_emu_fired(program.emu, "copy-fail"), 1);
	CHECK_EQ(zcrx_emu_fired(program.emu, "eintr"), 0);
	check_innocent(&program);
}

/* There is room in the queue, and the completion waits for a step all the same. */
static void completion_without_data_overflows(const char *level)
{
	const struct zcrx_emu_cqe other = {.user_data = 5, .res = 17};
	struct program program;
	struct zcrx_emu_cqe cqe;

	program_with(&program, level, "cq-overflow:at=0");
	CHECK_EQ(zcrx_emu_post(program.emu, &other), 0);
	CHECK_EQ(program.sq_flags, 2);
	CHECK(!next_cqe(&program, &cqe));
	zcrx_emu_step(program.emu);
	CHECK_EQ(program.sq_flags, 0);
	CHECK(next_cqe(&program, &cqe));
	CHECK_EQ(cqe.res, 17);
	CHECK_EQ(zcrx_emu_post(program.emu, &other), 0);
	CHECK(next_cqe(&program, &cqe));
	check_innocent(&program);
}

static void wait_is_interrupted(const char *level)
{
	struct program program;

	program_with(&program, level, "eintr:every=2");
	CHECK_EQ(zcrx_emu_wait(program.emu), -EINTR);
	CHECK_EQ(zcrx_emu_wait(program.emu), 0);
	CHECK_EQ(zcrx_emu_wait(program.emu), -EINTR);
	CHECK_EQ(zcrx_emu_fired(program.emu, NULL), 2);
	check_journal(&program, "eintr:at=0+2");
	check_innocent(&program);
}

/* What a thousand packets came to, and the journal. */
static uint64_t play(const char *level, const char *text, uint64_t seed, char *journal, size_t size)
{
	struct program program;
	uint64_t sum = 0;

	program_init(&program, level, 8, 16);
	program.options.seed = seed;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	plan(&program, text);
	for (uint32_t i = 0; i < 1000; i++) {
		struct zcrx_emu_cqe cqe;

		if (i % 2 == 0)
			arm(&program, i % 3);
		sum = sum * 31 + (uint64_t)deliver(&program, i % 3, 1 + i * 7 % PAGE);
		zcrx_emu_step(program.emu);
		while (next_cqe(&program, &cqe)) {
			sum = sum * 31 + (uint32_t)cqe.res;
			if (cqe.res > 0)
				give_back(&program, &cqe);
		}
	}
	CHECK(zcrx_emu_journal(program.emu, journal, size) < size);
	program_end(&program);
	return sum;
}

static void same_seed_and_text_do_the_same_and_so_does_the_journal(const char *level)
{
	static const char text[] =
		"nic-drop:2%,nic-truncate:5%:keep=3,cq-full:2%,nic-corrupt:1%,nic-duplicate:1%,"
		"nic-reorder:2%:distance=5,nic-hold:2%:count=3:packets=9,alloc-fail:1%:count=2,"
		"recv-late:1%:steps=3,rq-late:1%,queue-restart:1%,scrub-midway:1%";
	static char first[65536], again[65536], other[65536], replayed[65536];
	uint64_t sum = play(level, text, 7, first, sizeof(first));

	CHECK_EQ(play(level, text, 7, again, sizeof(again)), sum);
	CHECK(strcmp(first, again) == 0);
	CHECK(play(level, text, 8, other, sizeof(other)) != sum);
	CHECK(strcmp(first, other) != 0);
	CHECK_EQ(play(level, first, 7, replayed, sizeof(replayed)), sum);
	CHECK(strcmp(first, replayed) == 0);
}

static void wrong_text_is_refused_and_the_last_plan_stays(const char *level)
{
	struct program program;
	char why[640], little[8];

	program_with(&program, level, "nic-drop:at=0");
	CHECK_EQ(zcrx_emu_plan(program.emu, "bad-pad:1", why, sizeof(why)), -EINVAL);
	CHECK(strncmp(why, "plan: 'bad-pad' is no fault of the library; it has nic-drop, ", 61) ==
	      0);
	CHECK(strcmp(why, zcrx_emu_why(program.emu)) == 0);
	CHECK_EQ(zcrx_emu_plan(program.emu, "alloc-fail:x", little, sizeof(little)), -EINVAL);
	CHECK(strcmp(little, "plan: a") == 0);
	CHECK_EQ(zcrx_emu_plan(program.emu, "alloc-fail:x", NULL, 0), -EINVAL);
	CHECK_EQ(deliver(&program, 1, 100), 0);
	check_innocent(&program);
}

AT_EACH_LEVEL(dropped_packet_does_not_arrive)
AT_EACH_LEVEL(truncated_packet_arrives_in_part)
AT_EACH_LEVEL(one_bit_of_a_packet_is_not_as_it_was_sent)
AT_EACH_LEVEL(packet_comes_twice_in_bytes_of_its_own)
AT_EACH_LEVEL(packet_is_overtaken)
AT_EACH_LEVEL(overtaken_packet_waits_for_no_more_than_come)
AT_EACH_LEVEL(buffers_are_held_back_for_a_while)
AT_EACH_LEVEL(page_pool_is_replaced)
AT_EACH_LEVEL(restarts_wait_for_a_place)
AT_EACH_LEVEL(references_are_taken_from_under_the_program)
AT_EACH_LEVEL(scrub_excuses_nobody_else)
AT_EACH_LEVEL(tiny_fragments_come_first)
AT_EACH_LEVEL(receive_ends_as_if_the_queue_were_full)
AT_EACH_LEVEL(reset_ends_the_receive_once_all_is_read)
AT_EACH_LEVEL(allocation_that_fails_is_tried_again_under_its_number)
AT_EACH_LEVEL(buffers_come_from_the_refill_ring_alone)
AT_EACH_LEVEL(refill_ring_is_looked_at_late)
AT_EACH_LEVEL(completions_come_late_and_together)
AT_EACH_LEVEL(each_step_of_registering_can_fail)
AT_EACH_LEVEL(area_has_fewer_buffers_than_it_could)
AT_EACH_LEVEL(right_registration_is_refused_by_the_driver)
AT_EACH_LEVEL(receive_ends_after_a_few_completions)
AT_EACH_LEVEL(copy_finds_no_buffer)
AT_EACH_LEVEL(completion_without_data_overflows)
AT_EACH_LEVEL(wait_is_interrupted)
AT_EACH_LEVEL(same_seed_and_text_do_the_same_and_so_does_the_journal)
AT_EACH_LEVEL(wrong_text_is_refused_and_the_last_plan_stays)

CHECK_MAIN(LEVELS(dropped_packet_does_not_arrive), LEVELS(truncated_packet_arrives_in_part),
	   LEVELS(one_bit_of_a_packet_is_not_as_it_was_sent),
	   LEVELS(packet_comes_twice_in_bytes_of_its_own), LEVELS(packet_is_overtaken),
	   LEVELS(overtaken_packet_waits_for_no_more_than_come),
	   LEVELS(buffers_are_held_back_for_a_while), LEVELS(page_pool_is_replaced),
	   LEVELS(restarts_wait_for_a_place), LEVELS(references_are_taken_from_under_the_program),
	   LEVELS(scrub_excuses_nobody_else), LEVELS(tiny_fragments_come_first),
	   LEVELS(receive_ends_as_if_the_queue_were_full),
	   LEVELS(reset_ends_the_receive_once_all_is_read),
	   LEVELS(allocation_that_fails_is_tried_again_under_its_number),
	   LEVELS(buffers_come_from_the_refill_ring_alone), LEVELS(refill_ring_is_looked_at_late),
	   LEVELS(completions_come_late_and_together), LEVELS(each_step_of_registering_can_fail),
	   LEVELS(area_has_fewer_buffers_than_it_could),
	   LEVELS(right_registration_is_refused_by_the_driver),
	   LEVELS(receive_ends_after_a_few_completions), LEVELS(copy_finds_no_buffer),
	   LEVELS(completion_without_data_overflows), LEVELS(wait_is_interrupted),
	   LEVELS(same_seed_and_text_do_the_same_and_so_does_the_journal),
	   LEVELS(wrong_text_is_refused_and_the_last_plan_stays))
