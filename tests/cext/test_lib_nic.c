/* SPDX-License-Identifier: MIT */
/* What of the NIC a program notices: packets with linear heads, and buffers that stand. */
#include "lib_program.h"

static struct program program;
static struct zcrx_emu_cqe cqes[64];

static void start(const char *level, uint32_t buffers, uint32_t descriptors, uint32_t mtu)
{
	program_init(&program, level, buffers, 64);
	program.options.rx_descriptors = descriptors;
	program.options.mtu = mtu;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
}

static void return_all(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		give_back(&program, &cqes[i]);
}

static void packets_of_the_mtu_have_linear_heads(const char *level)
{
	struct zcrx_emu_shape headed = {.linear_min = 54, .linear_max = 54};
	uint32_t count;

	start(level, 80, 0, 1500);
	count = receive(&program, 1, 2 * 1500 + 20, &headed, cqes);
	CHECK_EQ(count, 5);
	CHECK_EQ(cqes[0].res, 54);
	CHECK_EQ(cqes[1].res, 1500 - 54);
	CHECK_EQ(cqes[2].res, 54);
	CHECK_EQ(cqes[3].res, 1500 - 54);
	CHECK_EQ(cqes[4].res, 20);
	for (uint32_t i = 0; i < count; i++)
		CHECK_EQ(program.area[cqes[i].off], 'b');
	return_all(count);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);

	/* Without an MTU all that one call brings is one packet. */
	start(level, 80, 0, 0);
	count = receive(&program, 1, 3000, &headed, cqes);
	CHECK_EQ(count, 2);
	CHECK_EQ(cqes[1].res, 3000 - 54);
	return_all(count);
	headed.linear_max = PAGE + 1;
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, cqes, 1, &headed), -EINVAL);
	headed.linear_max = 53;
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, cqes, 1, &headed), -EINVAL);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* The page pool takes 64 at once for them: of a hundred 36 are left, or none. */
static void standing_buffers_are_not_there_for_copies(const char *level)
{
	struct zcrx_emu_shape copied = {.copy_percent = 100};

	for (uint32_t descriptors = 10; descriptors <= 80; descriptors += 70) {
		uint32_t left = descriptors == 10 ? 36 : 0, count;

		start(level, 100, descriptors, 1500);
		for (count = 0; count < left; count++)
			CHECK_EQ(receive(&program, 1, 100, &copied, &cqes[count]), 1);
		CHECK_EQ(receive(&program, 1, 100, &copied, &cqes[count]), 1);
		CHECK_EQ(cqes[count].res, -ENOMEM);
		return_all(count);
		CHECK_EQ(zcrx_emu_close(program.emu, 1), 0);
		CHECK_EQ(zcrx_emu_finish(program.emu), 0);
		program_end(&program);
	}
}

static void standing_buffers_are_filled_in_turn_and_refilled(const char *level)
{
	uint32_t last = UINT32_MAX, distinct = 0, seen = 0;

	start(level, 16, 4, 1500);
	for (uint32_t round = 0; round < 100; round++) {
		uint32_t niov;

		CHECK_EQ(receive(&program, 1, 1000, NULL, cqes), 1);
		niov = (uint32_t)(cqes[0].off / PAGE);
		CHECK(niov != last);
		last = niov;
		distinct += !(seen & 1U << niov);
		seen |= 1U << niov;
		return_all(1);
	}
	CHECK(distinct > 4);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

/* The NIC has all of it: what is given comes back to it alone, and never to a copy. */
static void more_descriptors_than_buffers_are_reported(const char *level)
{
	struct zcrx_emu_shape headed = {.linear_min = 54, .linear_max = 54};

	start(level, 8, 1024, 1500);
	check_found(&program, ZCRX_EMU_STANDING, 1);
	for (uint32_t round = 0; round < 20; round++) {
		CHECK_EQ(receive(&program, 1, 8 * 1500, NULL, cqes), 8);
		return_all(8);
	}
	CHECK_EQ(receive(&program, 1, 1500, &headed, cqes), 1);
	CHECK_EQ(cqes[0].res, -ENOMEM);
	CHECK_EQ(zcrx_emu_close(program.emu, 1), 0);
	CHECK_EQ(zcrx_emu_finish(program.emu), 1);
	program_end(&program);
}

static void queue_without_a_device_has_no_descriptors(const char *level)
{
	if (level[0] != '7')
		return;
	program_init(&program, level, 4, 16);
	program.options.rx_descriptors = 1024;
	program.reg.flags = 2;
	program.reg.if_idx = 0;
	program_create(&program);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	find_ring(&program);
	arm(&program, 1);
	CHECK_EQ(receive(&program, 1, 4 * PAGE, NULL, cqes), 4);
	return_all(4);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
}

AT_EACH_LEVEL(packets_of_the_mtu_have_linear_heads)
AT_EACH_LEVEL(standing_buffers_are_not_there_for_copies)
AT_EACH_LEVEL(standing_buffers_are_filled_in_turn_and_refilled)
AT_EACH_LEVEL(more_descriptors_than_buffers_are_reported)
AT_EACH_LEVEL(queue_without_a_device_has_no_descriptors)

CHECK_MAIN(LEVELS(packets_of_the_mtu_have_linear_heads),
	   LEVELS(standing_buffers_are_not_there_for_copies),
	   LEVELS(standing_buffers_are_filled_in_turn_and_refilled),
	   LEVELS(more_descriptors_than_buffers_are_reported),
	   LEVELS(queue_without_a_device_has_no_descriptors))
