/* SPDX-License-Identifier: MIT */
/* The checker: each mistake is found and called by its name. */
#include "lib_program.h"

static struct program program;
static struct zcrx_emu_cqe cqes[256];
static const struct zcrx_emu_shape halves = {
	.fragment_min = 2000, .fragment_max = 2000, .per_buffer = 2};

static void start(const char *level)
{
	program_start(&program, level, 8, 16);
	arm(&program, 1);
}

/* The one fragment that it is about. */
static void get_one(void)
{
	CHECK_EQ(receive(&program, 1, 1000, NULL, cqes), 1);
}

static void judge(void)
{
	CHECK(zcrx_emu_drain(program.emu, 0) >= 0);
}

static void malformed_entries(const char *level)
{
	start(level);
	get_one();
	put_rqe(&program, cqes[0].off, 1000, 7);
	judge();
	check_found(&program, ZCRX_EMU_BAD_PAD, 1);
	program_end(&program);

	start(level);
	get_one();
	put_rqe(&program, cqes[0].off | 1ULL << 48, 1000, 0);
	judge();
	check_found(&program, ZCRX_EMU_BAD_AREA, 1);
	program_end(&program);

	start(level);
	get_one();
	put_rqe(&program, 8 * PAGE, 1000, 0);
	judge();
	check_found(&program, ZCRX_EMU_BAD_INDEX, 1);
	program_end(&program);

	start(level);
	get_one();
	put_rqe(&program, cqes[0].off | 1ULL << 44, 1000, 0);
	judge();
	check_found(&program, ZCRX_EMU_ALIAS, 1);
	program_end(&program);
}

static void primed_ring(const char *level)
{
	start(level);
	for (uint32_t niov = 0; niov < 8; niov++)
		put_rqe(&program, niov * PAGE, PAGE, 0);
	judge();
	check_found(&program, ZCRX_EMU_PRIMED, 1);
	program_end(&program);
}

/* Not judged before a fragment was given: then its reference is taken. */
static void primed_ring_that_is_judged_late(const char *level)
{
	struct zcrx_emu_shape copied = {.copy_percent = 100};

	start(level);
	for (uint32_t niov = 0; niov < 8; niov++)
		put_rqe(&program, niov * PAGE, PAGE, 0);
	CHECK_EQ(receive(&program, 1, 1000, &copied, cqes), 1);
	judge();
	CHECK_EQ(found(&program, ZCRX_EMU_STALE), 1);
	program_end(&program);
}

static void buffer_that_was_never_given(const char *level)
{
	start(level);
	get_one();
	put_rqe(&program, (cqes[0].off / PAGE + 1) % 8 * PAGE, 1000, 0);
	judge();
	check_found(&program, ZCRX_EMU_NEVER_GIVEN, 1);
	program_end(&program);
}

static void fragment_returned_twice(const char *level)
{
	start(level);
	get_one();
	give_back(&program, &cqes[0]);
	judge();
	give_back(&program, &cqes[0]);
	judge();
	check_found(&program, ZCRX_EMU_TWICE, 1);
	program_end(&program);

	/* In a row: from 7.3 on the level ignores all of it. */
	start(level);
	get_one();
	give_back(&program, &cqes[0]);
	give_back(&program, &cqes[0]);
	judge();
	CHECK(found(&program, ZCRX_EMU_TWICE) >= 1);
	CHECK_EQ(found(&program, ZCRX_EMU_TWICE), found(&program, ZCRX_EMU_KINDS));
	program_end(&program);
}

/* The buffer is given a second time meanwhile, and the old entry takes that reference. */
static void stale_return_after_redelivery(const char *level)
{
	struct zcrx_emu_shape copied = {.copy_percent = 100};
	uint64_t off;

	start(level);
	CHECK_EQ(receive(&program, 1, 1000, &copied, cqes), 1);
	off = cqes[0].off;
	give_back(&program, &cqes[0]);
	judge();
	give_back(&program, &cqes[0]);
	CHECK_EQ(receive(&program, 1, 1000, &copied, cqes), 1);
	CHECK_EQ(cqes[0].off, off);
	judge();
	check_found(&program, ZCRX_EMU_STALE, 1);
	program_end(&program);
}

static void fragment_returned_again_while_others_are_out(const char *level)
{
	start(level);
	CHECK_EQ(receive(&program, 1, 4000, &halves, cqes), 2);
	CHECK_EQ(cqes[0].off / PAGE, cqes[1].off / PAGE);
	give_back(&program, &cqes[1]);
	/* The legal case: one of two. */
	judge();
	check_found(&program, ZCRX_EMU_EARLY, 0);
	give_back(&program, &cqes[1]);
	judge();
	check_found(&program, ZCRX_EMU_EARLY, 1);
	program_end(&program);
}

static void overrun_ring(const char *level)
{
	start(level);
	get_one();
	give_back(&program, &cqes[0]);
	program.my_tail += 16;
	put_rqe(&program, 0, 0, 1);
	judge();
	CHECK_EQ(found(&program, ZCRX_EMU_RING_OVERRUN), 1);
	program_end(&program);
}

static void tail_moved_back(const char *level)
{
	start(level);
	get_one();
	give_back(&program, &cqes[0]);
	judge();
	*program.tail = 0;
	judge();
	CHECK_EQ(found(&program, ZCRX_EMU_TAIL_BACK), 1);
	program_end(&program);
}

static void header_written(const char *level)
{
	start(level);
	get_one();
	*program.head = 77;
	judge();
	check_found(&program, ZCRX_EMU_HEAD_WRITTEN, 1);
	judge();
	program_end(&program);

	if (program.reg.offsets.tail == 4)
		return;
	/* Head at 0, tail at 4, entries at 8, as the first version had them. */
	start(level);
	get_one();
	memcpy(program.region + 8, &(struct io_uring_zcrx_rqe){cqes[0].off, 1000, 0}, 16);
	*(uint32_t *)(void *)(program.region + 4) = 1;
	judge();
	CHECK(found(&program, ZCRX_EMU_HEADER_WRITTEN) >= 1);
	CHECK_EQ(found(&program, ZCRX_EMU_HEADER_WRITTEN), found(&program, ZCRX_EMU_KINDS));
	program_end(&program);
}

/* Found when it is filled again, or at the end; what is held may be written. */
static void buffer_written_after_its_return(const char *level)
{
	char text[16384];

	start(level);
	get_one();
	memset(program.area + cqes[0].off, 1, 1000);
	give_back(&program, &cqes[0]);
	judge();
	check_found(&program, ZCRX_EMU_WRITTEN, 0);
	program.area[cqes[0].off + 1500] = 0x41;
	CHECK_EQ(zcrx_emu_finish(program.emu), 1);
	check_found(&program, ZCRX_EMU_WRITTEN, 1);
	zcrx_emu_report_text(program.emu, text, sizeof(text));
	CHECK(strstr(text, "byte 1500 of buffer") && strstr(text, "0x41") &&
	      strstr(text, "after entry 0"));
	program_end(&program);

	start(level);
	get_one();
	give_back(&program, &cqes[0]);
	judge();
	program.area[cqes[0].off + PAGE - 1] = 0;
	CHECK_EQ(receive(&program, 1, 8 * PAGE, NULL, cqes), 8);
	check_found(&program, ZCRX_EMU_WRITTEN, 1);
	program_end(&program);

	/* An area that is gone was not written. */
	start(level);
	get_one();
	give_back(&program, &cqes[0]);
	judge();
	CHECK_EQ(mprotect(program.area, 8 * PAGE, PROT_NONE), 0);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);

	/* Without poison nobody can tell. */
	program_init(&program, level, 8, 16);
	program.options.flags = ZCRX_EMU_NO_POISON;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	get_one();
	give_back(&program, &cqes[0]);
	judge();
	program.area[cqes[0].off] = 0;
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* The kernel has looked in between: it is the second look that shows it. */
static void entry_written_after_its_tail(const char *level)
{
	struct io_uring_zcrx_rqe *rqe;

	start(level);
	CHECK_EQ(receive(&program, 1, 2000, NULL, cqes), 1);
	rqe = &program.rqes[0];
	__atomic_store_n(program.tail, 1, __ATOMIC_RELEASE);
	zcrx_emu_step(program.emu);
	rqe->off = cqes[0].off;
	rqe->len = 2000;
	judge();
	check_found(&program, ZCRX_EMU_ENTRY_LATE, 1);
	/* As it is now it was judged. */
	CHECK_EQ(zcrx_emu_finish(program.emu), 1);
	program_end(&program);
}

/* Each time it writes as much as it was given, whatever the head is. */
static void head_never_read(const char *level)
{
	program_init(&program, level, 8, 4);
	program.options.flags = ZCRX_EMU_LATE_HEAD | ZCRX_EMU_EAGER;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	for (uint32_t round = 0; round < 4; round++) {
		CHECK_EQ(receive(&program, 1, 3 * PAGE, NULL, cqes), 3);
		for (uint32_t i = 0; i < 3; i++)
			give_back(&program, &cqes[i]);
	}
	CHECK(found(&program, ZCRX_EMU_HEAD_UNREAD) >= 1);
	CHECK_EQ(found(&program, ZCRX_EMU_HEAD_UNREAD), found(&program, ZCRX_EMU_KINDS));
	program_end(&program);
}

static void completion_queue_neglected(const char *level)
{
	program_init(&program, level, 8, 16);
	program.cq_entries = 2;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 3 * PAGE, NULL, cqes), 2);
	give_back(&program, &cqes[0]);
	give_back(&program, &cqes[1]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 2);
	CHECK_EQ(found(&program, ZCRX_EMU_CQ_OVERFLOW), 1);
	CHECK_EQ(found(&program, ZCRX_EMU_NOT_ARMED), 1);
	program_end(&program);

	start(level);
	program.cq_head = 5;
	CHECK_EQ(zcrx_emu_finish(program.emu), 1);
	check_found(&program, ZCRX_EMU_CQ_HEAD, 1);
	program_end(&program);
}

static char told[16384];

static void on_report(void *context, const struct zcrx_emu_report *report)
{
	(void)context;
	strcat(strcat(told, report->name), " ");
	CHECK(report->text[0] && report->advice[0]);
	CHECK(strcmp(report->name, zcrx_emu_kind_name(report->kind)) == 0);
}

static void buffers_never_returned_are_told_oldest_first(const char *level)
{
	char text[16384], json[16384];
	const char *first, *second;

	program_init(&program, level, 8, 16);
	program.options.on_report = on_report;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	arm(&program, 2);
	CHECK_EQ(receive(&program, 2, 1000, NULL, cqes), 1);
	CHECK_EQ(receive(&program, 1, 1000, NULL, cqes), 1);
	told[0] = 0;
	CHECK_EQ(zcrx_emu_finish(program.emu), 2);
	check_found(&program, ZCRX_EMU_NOT_RETURNED, 2);
	CHECK(strcmp(told, "not-returned not-returned ") == 0);
	CHECK(zcrx_emu_report_text(program.emu, text, sizeof(text)) == strlen(text));
	first = strstr(text, "(completion 1, flow 2)");
	second = strstr(text, "(completion 2, flow 1)");
	CHECK(first && second && first < second);
	CHECK(zcrx_emu_report_json(program.emu, json, sizeof(json)) == strlen(json));
	CHECK(strstr(json, "\"not-returned\": 2") && strstr(json, "\"completion\": 2"));
	/* Cut short it is still a string, and the size that it wants is told. */
	CHECK_EQ(zcrx_emu_report_text(program.emu, json, 10), strlen(text));
	CHECK_EQ(strlen(json), 9);
	CHECK_EQ(zcrx_emu_report_text(program.emu, NULL, 0), strlen(text));
	program_end(&program);
}

AT_EACH_LEVEL(malformed_entries)
AT_EACH_LEVEL(primed_ring)
AT_EACH_LEVEL(primed_ring_that_is_judged_late)
AT_EACH_LEVEL(buffer_that_was_never_given)
AT_EACH_LEVEL(fragment_returned_twice)
AT_EACH_LEVEL(stale_return_after_redelivery)
AT_EACH_LEVEL(fragment_returned_again_while_others_are_out)
AT_EACH_LEVEL(overrun_ring)
AT_EACH_LEVEL(tail_moved_back)
AT_EACH_LEVEL(header_written)
AT_EACH_LEVEL(buffer_written_after_its_return)
AT_EACH_LEVEL(entry_written_after_its_tail)
AT_EACH_LEVEL(head_never_read)
AT_EACH_LEVEL(completion_queue_neglected)
AT_EACH_LEVEL(buffers_never_returned_are_told_oldest_first)

CHECK_MAIN(LEVELS(malformed_entries), LEVELS(primed_ring), LEVELS(primed_ring_that_is_judged_late),
	   LEVELS(buffer_that_was_never_given), LEVELS(fragment_returned_twice),
	   LEVELS(stale_return_after_redelivery),
	   LEVELS(fragment_returned_again_while_others_are_out), LEVELS(overrun_ring),
	   LEVELS(tail_moved_back), LEVELS(header_written), LEVELS(buffer_written_after_its_return),
	   LEVELS(entry_written_after_its_tail), LEVELS(head_never_read),
	   LEVELS(completion_queue_neglected), LEVELS(buffers_never_returned_are_told_oldest_first))
