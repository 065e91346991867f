/* SPDX-License-Identifier: MIT */
/*
 * Events and statistics of a queue (7.2 and later): one completion of each kind until it is
 * armed again, told to the ring that registered it; copies are counted, linear heads are not.
 */
#include "lib_program.h"

#include <unistd.h>

static struct program program;
static struct zcrx_event_desc desc;
static struct zcrx_emu_cqe cqes[64];
static const struct zcrx_emu_shape copied = {.copy_percent = 100};

static bool has_events(const char *level)
{
	return strcmp(level, "7.2") == 0 || strcmp(level, "7.3") == 0;
}

static uint64_t stats_at(const char *level)
{
	return (strcmp(level, "7.3") == 0 ? 128 : 64) + 16 * 16;
}

static void prepare_with(const char *level, uint32_t types, uint32_t buffers)
{
	program_init(&program, level, buffers, 16);
	program_create(&program);
	desc = (struct zcrx_event_desc){.user_data = 77, .type_mask = types};
	program.reg.event_desc = (uintptr_t)&desc;
}

static void prepare(const char *level, uint32_t types)
{
	prepare_with(level, types, 4);
}

static void start_with(const char *level, uint32_t types, uint32_t buffers)
{
	prepare_with(level, types, buffers);
	desc.flags = 1;
	desc.stats_offset = stats_at(level);
	memset(program.region + desc.stats_offset, 0xff, 24);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
}

static void start(const char *level, uint32_t types)
{
	start_with(level, types, 4);
}

static const struct zcrx_stats *stats(void)
{
	return (const struct zcrx_stats *)(const void *)(program.region + desc.stats_offset);
}

static int arm_event(uint32_t type)
{
	struct zcrx_ctrl ctrl = {.op = 2, .payload = {type}};

	return zcrx_emu_register(program.emu, 36, &ctrl, 0);
}

static void return_all(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (cqes[i].flags & ZCRX_EMU_CQE_F_MORE)
			give_back(&program, &cqes[i]);
	}
}

static void descriptions_are_checked(const char *level)
{
	if (!has_events(level))
		return;
#define REFUSED(error, word, statement)                                               \
	do {                                                                          \
		prepare(level, 3);                                                    \
		statement;                                                            \
		CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), -(error)); \
		CHECK(strstr(zcrx_emu_why(program.emu), word) != NULL);               \
		program_end(&program);                                                \
	} while (0)
	REFUSED(EINVAL, "type_mask", desc.type_mask = 4);
	REFUSED(EINVAL, "event_desc flags", desc.flags = 2);
	REFUSED(EINVAL, "stats_offset", desc.stats_offset = stats_at(level));
	REFUSED(EINVAL, "event_desc __resv2", desc.__resv2[8] = 1);
	REFUSED(EINVAL, "stats_offset", desc.flags = 1; desc.stats_offset = stats_at(level) + 4);
	REFUSED(ERANGE, "stats_offset", desc.flags = 1; desc.stats_offset = stats_at(level) - 8);
	REFUSED(ERANGE, "stats_offset", desc.flags = 1; desc.stats_offset = 0);
	REFUSED(ERANGE, "stats_offset", desc.flags = 1; desc.stats_offset = PAGE - 8);
	REFUSED(ERANGE, "stats_offset", desc.flags = 1; desc.stats_offset = -8ULL);
	/* The first that the kernel looks at is told. */
	REFUSED(EINVAL, "type_mask", desc.type_mask = 4; program.region_reg.size = 8);
	REFUSED(EINVAL, "region size", program.region_reg.size = 8; desc.flags = 1);
	REFUSED(ERANGE, "stats_offset", desc.flags = 1; program.reg.if_idx = 0);
	REFUSED(EFAULT, "area_ptr", desc.type_mask = 4; program.reg.area_ptr = 8);
	prepare(level, 3);
	desc.flags = 1;
	desc.stats_offset = PAGE - 16;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	program_end(&program);
}

static void failed_allocation_is_told_once_until_armed(const char *level)
{
	uint8_t bytes[6 * PAGE] = {0};
	uint32_t count;

	if (!has_events(level))
		return;
	start(level, 3);
	CHECK_EQ(arm_event(0), -EINVAL);
	for (uint32_t round = 0; round < 3; round++) {
		uint32_t told = 0;

		CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), NULL), 4 * PAGE);
		CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, PAGE, NULL), 0);
		zcrx_emu_step(program.emu);
		for (count = 0; next_cqe(&program, &cqes[count]); count++) {
			if (cqes[count].user_data != 77)
				continue;
			told++;
			CHECK_EQ(cqes[count].res, 0);
			CHECK_EQ(cqes[count].flags, 0);
		}
		CHECK_EQ(told, round != 1);
		return_all(count);
		/* Armed after the first, and not after the second. */
		if (round == 1)
			CHECK_EQ(arm_event(0), 0);
	}
	CHECK_EQ(arm_event(1), -EINVAL);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void copies_are_told_and_counted(const char *level)
{
	struct zcrx_emu_shape headed = {.linear_min = 40, .linear_max = 40};
	uint32_t count;

	if (!has_events(level))
		return;
	/* More than the page pool takes at once: copies have what is left. */
	start_with(level, 2, 80);
	/* Cleared when it was registered, and nothing behind it. */
	CHECK_EQ(stats()->copy_count, 0);
	CHECK_EQ(stats()->copy_bytes, 0);
	CHECK_EQ(program.region[desc.stats_offset + 16], 0xff);
	count = receive(&program, 1, 100, NULL, cqes);
	CHECK_EQ(count, 1);
	return_all(count);
	/* A linear head is copied, and silent. */
	count = receive(&program, 1, 140, &headed, cqes);
	CHECK_EQ(count, 2);
	CHECK_EQ(cqes[0].res, 40);
	CHECK_EQ(cqes[1].res, 100);
	CHECK_EQ(stats()->copy_count, 0);
	return_all(count);
	count = receive(&program, 1, 200, &copied, cqes);
	CHECK_EQ(count, 2);
	CHECK_EQ(cqes[0].res, 200);
	CHECK_EQ(cqes[1].res, 1);
	CHECK_EQ(cqes[1].user_data, 77);
	CHECK_EQ(cqes[1].flags, 0);
	return_all(count);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0) > 0, 1);
	count = receive(&program, 1, 300, &copied, cqes);
	CHECK_EQ(count, 1);
	return_all(count);
	CHECK_EQ(stats()->copy_count, 2);
	CHECK_EQ(stats()->copy_bytes, 500);
	CHECK_EQ(arm_event(1), 0);
	CHECK_EQ(arm_event(1), -EINVAL);
	CHECK_EQ(arm_event(2), -EINVAL);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* One fragment of 16 KiB becomes four completions, and is one copy. */
static void larger_fragment_is_one_copy(const char *level)
{
	if (!has_events(level))
		return;
	prepare(level, 0);
	munmap(program.area, 4 * PAGE);
	program.buffers = 24;
	program.area = pages(24 * PAGE);
	program.area_reg.addr = ((uintptr_t)program.area + 4 * PAGE - 1) / (4 * PAGE) * (4 * PAGE);
	program.area_reg.len = 20 * PAGE;
	program.reg.rx_buf_len = 4 * PAGE;
	desc.flags = 1;
	desc.stats_offset = stats_at(level);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 4 * PAGE, &copied, cqes), 4);
	CHECK_EQ(stats()->copy_count, 1);
	CHECK_EQ(stats()->copy_bytes, 4 * PAGE);
	return_all(4);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* No type is wanted: statistics alone. */
static void statistics_need_no_events(const char *level)
{
	if (!has_events(level))
		return;
	start(level, 0);
	CHECK_EQ(receive(&program, 1, 200, &copied, cqes), 1);
	return_all(1);
	CHECK_EQ(stats()->copy_count, 1);
	CHECK_EQ(arm_event(1), -EINVAL);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

static void arming_is_checked(const char *level)
{
	struct zcrx_ctrl ctrl = {.op = 2, .payload = {1ULL << 32 | 1}};

	if (!has_events(level))
		return;
	start(level, 3);
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EINVAL);
	CHECK(strstr(zcrx_emu_why(program.emu), "rest") != NULL);
	program_end(&program);
}

/* Whoever imported the queue hears nothing, and nobody does once the other one is gone. */
static void events_are_the_registering_rings(const char *level)
{
	struct zcrx_emu_machine *machine;
	struct program other = {.cq_entries = CQES};
	struct zcrx_ctrl ctrl = {.op = 1};
	struct zcrx_emu_recv recv = {.flow = 1, .user_data = 5};
	int fd;

	if (!has_events(level))
		return;
	CHECK_EQ(zcrx_emu_machine_create(&machine), 0);
	prepare(level, 3);
	zcrx_emu_destroy(program.emu);
	program.options.machine = machine;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), 0);
	memcpy(&fd, ctrl.payload, sizeof(fd));
	other.options = program.options;
	other.region = program.region;
	other.entries = program.entries;
	program_create(&other);
	other.reg = (struct io_uring_zcrx_ifq_reg){.if_idx = (uint32_t)fd, .flags = 1};
	CHECK_EQ(zcrx_emu_register_ifq(other.emu, &other.reg), 0);
	CHECK_EQ(close(fd), 0);
	find_ring(&other);
	CHECK_EQ(zcrx_emu_arm(other.emu, &recv), 0);
	CHECK_EQ(receive(&other, 1, 100, &copied, cqes), 1);
	CHECK_EQ(cqes[0].res, 100);
	give_back(&other, &cqes[0]);
	zcrx_emu_step(program.emu);
	REQUIRE(next_cqe(&program, &cqes[0]));
	CHECK_EQ(cqes[0].user_data, 77);
	CHECK_EQ(cqes[0].res, 1);
	/* Any of them may arm it. */
	ctrl = (struct zcrx_ctrl){.op = 2, .payload = {1}};
	CHECK_EQ(zcrx_emu_register(other.emu, 36, &ctrl, 0), 0);
	zcrx_emu_destroy(program.emu);
	program.emu = NULL;
	CHECK_EQ(receive(&other, 1, 100, &copied, cqes), 1);
	give_back(&other, &cqes[0]);
	CHECK_EQ(zcrx_emu_register(other.emu, 36, &ctrl, 0), -EINVAL);
	CHECK_EQ(zcrx_emu_finish(other.emu), 0);
	zcrx_emu_destroy(other.emu);
	program_end(&program);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
}

AT_EACH_LEVEL(descriptions_are_checked)
AT_EACH_LEVEL(failed_allocation_is_told_once_until_armed)
AT_EACH_LEVEL(copies_are_told_and_counted)
AT_EACH_LEVEL(larger_fragment_is_one_copy)
AT_EACH_LEVEL(statistics_need_no_events)
AT_EACH_LEVEL(arming_is_checked)
AT_EACH_LEVEL(events_are_the_registering_rings)

CHECK_MAIN(LEVELS(descriptions_are_checked), LEVELS(failed_allocation_is_told_once_until_armed),
	   LEVELS(copies_are_told_and_counted), LEVELS(larger_fragment_is_one_copy),
	   LEVELS(statistics_need_no_events), LEVELS(arming_is_checked),
	   LEVELS(events_are_the_registering_rings))
