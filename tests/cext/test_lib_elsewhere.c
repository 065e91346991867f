/* SPDX-License-Identifier: MIT */
/* libzcrx_emu with a program whose memory it reaches by functions alone. */
#include "lib_elsewhere.h"
#include "lib_program.h"

static struct program program;
static struct zcrx_emu_cqe cqes[CQES];

/* Of functions for many pieces: calls, their largest, and how many succeed until there is no memory. */
static uint32_t reads, writes, most_written, writes_left;

static int read_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	CHECK(count <= ZCRX_EMU_PIECES_MAX);
	reads++;
	for (uint32_t i = 0; i < count; i++) {
		if (read_elsewhere(context, pieces[i].here, pieces[i].there, pieces[i].size))
			return -EFAULT;
	}
	return 0;
}

static int write_pieces(void *context, const struct zcrx_emu_piece *pieces, uint32_t count)
{
	CHECK(count <= ZCRX_EMU_PIECES_MAX);
	if (writes_left-- == 0)
		return -EFAULT;
	writes++;
	most_written = count > most_written ? count : most_written;
	for (uint32_t i = 0; i < count; i++) {
		if (write_elsewhere(context, pieces[i].there, pieces[i].here, pieces[i].size))
			return -EFAULT;
	}
	return 0;
}

static const struct zcrx_emu_memory by_one = {.read = read_elsewhere, .write = write_elsewhere};
static const struct zcrx_emu_memory by_pieces = {
	.read = read_elsewhere,
	.write = write_elsewhere,
	.read_pieces = read_pieces,
	.write_pieces = write_pieces,
};

/* Structs in its first page, the ring in the second, the area from the third on. */
static uint8_t *const area = elsewhere + 2 * PAGE;

static void start_with(const char *level, const struct zcrx_emu_memory *memory, uint32_t buffers,
		       uint32_t flags, uint32_t mtu)
{
	memset(elsewhere, 0, sizeof(elsewhere));
	reads = writes = most_written = 0;
	writes_left = UINT32_MAX;
	program_init(&program, level, buffers, 64);
	program.options.memory = memory;
	program.options.flags = flags;
	program.options.mtu = mtu;
	program_create(&program);
	program.reg.region_ptr = ELSEWHERE + 128;
	program.reg.area_ptr = ELSEWHERE + 256;
	program.region_reg.user_addr = ELSEWHERE + PAGE;
	program.area_reg.addr = ELSEWHERE + 2 * PAGE;
	memcpy(elsewhere, &program.reg, sizeof(program.reg));
	memcpy(elsewhere + 128, &program.region_reg, sizeof(program.region_reg));
	memcpy(elsewhere + 256, &program.area_reg, sizeof(program.area_reg));
	CHECK_EQ(zcrx_emu_register(program.emu, 32, (void *)(uintptr_t)8, 1), -EFAULT);
	CHECK_EQ(zcrx_emu_register(program.emu, 32, (void *)(uintptr_t)ELSEWHERE, 1), 0);
	memcpy(&program.reg, elsewhere, sizeof(program.reg));
	munmap(program.region, PAGE + program.entries * 16);
	program.region = elsewhere + PAGE;
	find_ring(&program);
	arm(&program, 1);
}

static void start(const char *level, const struct zcrx_emu_memory *memory, uint32_t buffers,
		  uint32_t flags)
{
	start_with(level, memory, buffers, flags, 0);
}

static void end(void)
{
	zcrx_emu_destroy(program.emu);
	munmap(program.area, (size_t)program.buffers * PAGE);
}

static void check_served(const char *level, const struct zcrx_emu_memory *memory)
{
	struct zcrx_emu_cqe cqe;

	start(level, memory, 8, 0);
	for (uint32_t round = 0; round < 40; round++) {
		CHECK_EQ(receive(&program, 1, PAGE, NULL, cqes), 1);
		CHECK_EQ(area[cqes[0].off], 'b');
		give_back(&program, &cqes[0]);
	}
	CHECK_EQ(zcrx_emu_drain(program.emu, 0) > 0, 1);
	CHECK_EQ(area[cqes[0].off], 0xdb);
	CHECK_EQ(area[cqes[0].off + PAGE - 1], 0xdb);
	CHECK_EQ(*program.head, 40);
	CHECK(!next_cqe(&program, &cqe));
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	end();
}

static void program_in_other_memory_is_served(const char *level)
{
	check_served(level, &by_one);
	CHECK_EQ(reads + writes, 0);
	check_served(level, &by_pieces);
	CHECK(writes > 0);
}

/* Sixteen buffers, again and again: each time they are filled, poisoned and looked at together. */
static void buffers_are_written_and_read_together(const char *level)
{
	start(level, &by_pieces, 16, 0);
	for (uint32_t round = 0; round < 8; round++) {
		writes = reads = 0;
		CHECK_EQ(receive(&program, 1, 16 * PAGE, NULL, cqes), 16);
		CHECK_EQ(writes, 1);
		CHECK_EQ(reads, round > 0);
		for (uint32_t i = 0; i < 16; i++) {
			CHECK_EQ(area[cqes[i].off + 7 * i], 'b');
			give_back(&program, &cqes[i]);
		}
		CHECK_EQ(zcrx_emu_drain(program.emu, 0), 16);
		CHECK_EQ(writes, 2);
		for (uint32_t i = 0; i < 16; i++)
			CHECK_EQ(area[cqes[i].off + 7 * i], 0xdb);
	}
	CHECK_EQ(most_written, 16);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	end();
}

/* Whichever of those that are looked at together it is, and only once. */
static void returned_buffer_that_is_written_is_found(const char *level)
{
	for (uint32_t which = 0; which < 4; which++) {
		start(level, &by_pieces, 4, 0);
		CHECK_EQ(receive(&program, 1, 4 * PAGE, NULL, cqes), 4);
		for (uint32_t i = 0; i < 4; i++)
			give_back(&program, &cqes[i]);
		CHECK_EQ(zcrx_emu_drain(program.emu, 0), 4);
		area[cqes[which].off + 100] = 1;
		CHECK_EQ(receive(&program, 1, 4 * PAGE, NULL, cqes), 4);
		check_found(&program, ZCRX_EMU_WRITTEN, 1);
		for (uint32_t i = 0; i < 4; i++)
			give_back(&program, &cqes[i]);
		zcrx_emu_finish(program.emu);
		check_found(&program, ZCRX_EMU_WRITTEN, 1);
		end();
	}
}

/* What was looked at for one delivery is looked at again for the next. */
static void look_ahead_is_good_for_one_delivery(const char *level)
{
	const struct zcrx_emu_shape all = {0}, halves = {.fragment_min = 2000,
							 .fragment_max = 2000,
							 .per_buffer = 2};

	start(level, &by_pieces, 8, 0);
	CHECK_EQ(receive(&program, 1, 8 * PAGE, &all, cqes), 8);
	for (uint32_t i = 0; i < 8; i++)
		give_back(&program, &cqes[i]);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), 8);
	/* Two buffers are thought to be wanted, and one is taken. */
	CHECK_EQ(receive(&program, 1, 4000, &halves, cqes), 2);
	CHECK_EQ(reads, 1);
	for (uint32_t page = 0; page < 8; page++) {
		if (area[page * PAGE] == 0xdb)
			area[page * PAGE] = 2;
	}
	CHECK_EQ(receive(&program, 1, PAGE, &all, &cqes[2]), 1);
	check_found(&program, ZCRX_EMU_WRITTEN, 1);
	end();
}

/*
 * Those that wait in the ring are filled without poison where the new bytes stand; all else of
 * them has it, and so have those that are not filled.
 */
static void hot_buffers_are_filled_or_poisoned(const char *level)
{
	const struct zcrx_emu_shape parts = {
		.fragment_min = 1000,
		.fragment_max = 1000,
		.offset_min = 10,
		.offset_max = 10,
		.per_buffer = 2,
	};
	bool was_out[16] = {false};

	start(level, &by_pieces, 16, ZCRX_EMU_HOT);
	CHECK_EQ(receive(&program, 1, 16 * PAGE, NULL, cqes), 16);
	for (uint32_t i = 0; i < 16; i++)
		give_back(&program, &cqes[i]);
	writes = 0;
	CHECK_EQ(receive(&program, 1, 16 * PAGE, NULL, cqes), 16);
	CHECK_EQ(writes, 1);
	CHECK_EQ(reads, 0);
	for (uint32_t i = 0; i < 16; i++)
		give_back(&program, &cqes[i]);
	/* Two and a half buffers of sixteen. */
	CHECK_EQ(receive(&program, 1, 5000, &parts, cqes), 5);
	for (uint32_t i = 0; i < 5; i++) {
		const uint8_t *bytes = area + cqes[i].off;

		CHECK_EQ(cqes[i].off % PAGE, i % 2 ? 1010 : 10);
		CHECK(bytes[0] == 'b' && bytes[999] == 'b');
		CHECK(bytes[-10] == (i % 2 ? 'b' : 0xdb) && bytes[-1] == (i % 2 ? 'b' : 0xdb));
		CHECK(i == 4 || i % 2 == 0 || (bytes[1000] == 0xdb && bytes[2000] == 0xdb));
		was_out[cqes[i].off / PAGE] = true;
	}
	for (uint32_t page = 0; page < 16; page++)
		CHECK(was_out[page] ||
		      (area[page * PAGE] == 0xdb && area[page * PAGE + 4095] == 0xdb));
	for (uint32_t i = 0; i < 5; i++)
		give_back(&program, &cqes[i]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	end();
}

/* A buffer at home is compared, however it came there. */
static void buffer_that_came_home_in_a_delivery_is_watched(const char *level)
{
	start(level, &by_pieces, 16, ZCRX_EMU_HOT);
	CHECK_EQ(receive(&program, 1, 16 * PAGE, NULL, cqes), 16);
	for (uint32_t i = 0; i < 16; i++)
		give_back(&program, &cqes[i]);
	CHECK_EQ(receive(&program, 1, PAGE, NULL, cqes), 1);
	for (uint32_t page = 0; page < 16; page++)
		area[page * PAGE + 9] = 3;
	CHECK_EQ(receive(&program, 1, 4 * PAGE, NULL, &cqes[1]), 4);
	check_found(&program, ZCRX_EMU_WRITTEN, 4);
	end();
}

/* The area is taken away: what was to be written then has not arrived, what was before has. */
static void bytes_that_cannot_be_written_have_not_arrived(const char *level)
{
	static uint8_t bytes[6 * PAGE];
	const uint32_t written = ZCRX_EMU_PIECES_MAX * 64; /* by one call */
	const struct zcrx_emu_shape shape = {
		.fragment_min = 64,
		.fragment_max = 64,
		.per_buffer = 64,
	};

	start(level, &by_pieces, 32, 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 2, bytes, PAGE, NULL), PAGE);
	for (uint32_t calls = 0; calls <= 6; calls++) {
		writes_left = calls;
		CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 2, bytes, sizeof(bytes), &shape),
			 calls * written);
		CHECK_EQ(zcrx_emu_withdraw(program.emu, 2),
			 calls * written + (calls == 0 ? PAGE : 0));
	}
	/* All buffers are there again. */
	writes_left = UINT32_MAX;
	for (uint32_t i = 0; i < 32; i++)
		CHECK_EQ(receive(&program, 1, PAGE, NULL, cqes), 1);
	end();
}

/* In the middle of a delivery, whose other packets are not written yet. */
static void packets_go_wrong_amid_others(const char *level)
{
	static const uint8_t expected[5] = {1, 0, 2, 3, 3};
	uint8_t bytes[4 * PAGE];
	uint32_t flipped = 0;
	char why[256];

	for (uint32_t i = 0; i < 4; i++)
		memset(bytes + i * PAGE, (int)i, PAGE);
	start_with(level, &by_pieces, 8, 0, PAGE);
	CHECK_EQ(zcrx_emu_plan(program.emu,
			       "nic-reorder:at=0:distance=1,nic-corrupt:at=2,nic-duplicate:at=3",
			       why, sizeof(why)),
		 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, bytes, sizeof(bytes), NULL), 4 * PAGE);
	CHECK_EQ(zcrx_emu_step(program.emu), 5);
	for (uint32_t i = 0; i < 5; i++) {
		REQUIRE(next_cqe(&program, &cqes[0]));
		CHECK_EQ(cqes[0].res, PAGE);
		for (uint32_t at = 0; at < PAGE; at++) {
			if (area[cqes[0].off + at] == expected[i])
				continue;
			CHECK_EQ(i, 2);
			flipped += (uint32_t)__builtin_popcount(area[cqes[0].off + at] ^ 2);
		}
		give_back(&program, &cqes[0]);
	}
	CHECK_EQ(flipped, 1);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	end();
}

AT_EACH_LEVEL(program_in_other_memory_is_served)
AT_EACH_LEVEL(packets_go_wrong_amid_others)
AT_EACH_LEVEL(buffers_are_written_and_read_together)
AT_EACH_LEVEL(returned_buffer_that_is_written_is_found)
AT_EACH_LEVEL(look_ahead_is_good_for_one_delivery)
AT_EACH_LEVEL(hot_buffers_are_filled_or_poisoned)
AT_EACH_LEVEL(buffer_that_came_home_in_a_delivery_is_watched)
AT_EACH_LEVEL(bytes_that_cannot_be_written_have_not_arrived)

CHECK_MAIN(LEVELS(program_in_other_memory_is_served), LEVELS(packets_go_wrong_amid_others),
	   LEVELS(buffers_are_written_and_read_together),
	   LEVELS(returned_buffer_that_is_written_is_found),
	   LEVELS(look_ahead_is_good_for_one_delivery), LEVELS(hot_buffers_are_filled_or_poisoned),
	   LEVELS(buffer_that_came_home_in_a_delivery_is_watched),
	   LEVELS(bytes_that_cannot_be_written_have_not_arrived))
