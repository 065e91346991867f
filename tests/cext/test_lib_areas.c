/* SPDX-License-Identifier: MIT */
/* Areas that a program adds to its queue: what is refused, and how the new ones serve. */
#include "lib_program.h"

#define ADD_AREA 3U
#define TOKEN(id) ((uint64_t)(id) << 48)

static struct program program;
static struct zcrx_emu_cqe cqes[64];

/* A second stretch of memory, and a right request for it. */
static struct {
	uint8_t *bytes;
	struct io_uring_zcrx_area_reg reg;
	struct zcrx_ctrl ctrl;
} more;

static bool has_areas(const char *level)
{
	return strcmp(level, "7.3") == 0;
}

static void ask_for(uint32_t buffers)
{
	memset(&more, 0, sizeof(more));
	more.bytes = pages((size_t)buffers * PAGE);
	more.reg.addr = (uintptr_t)more.bytes;
	more.reg.len = (uint64_t)buffers * PAGE;
	more.ctrl.op = ADD_AREA;
	more.ctrl.payload[0] = (uintptr_t)&more.reg;
}

static void forget(uint32_t buffers)
{
	munmap(more.bytes, (size_t)buffers * PAGE);
}

static int add(void)
{
	return zcrx_emu_register(program.emu, 36, &more.ctrl, 0);
}

static void start(uint32_t buffers)
{
	program_start(&program, "7.3", buffers, 64);
	arm(&program, 1);
}

/* ---- what is refused ------------------------------------------------------------------ */

static void only_a_level_with_areas_has_the_call(const char *level)
{
	if (level[0] != '7')
		return;
	program_start(&program, level, 2, 64);
	ask_for(2);
	CHECK_EQ(add(), has_areas(level) ? 0 : -EOPNOTSUPP);
	CHECK_EQ(more.reg.rq_area_token, has_areas(level) ? TOKEN(1) : 0);
	program_end(&program);
	forget(2);
}

/* Each alone, in the order in which the kernel looks for them. */
static void mistakes_have_the_kernels_codes_in_its_order(void)
{
	static const struct {
		size_t at; /* of the word that is wrong, in `more` */
		uint64_t value;
		int error;
		bool is_token_told;
	} cases[] = {
#define REG(field) \
	(offsetof(__typeof__(more), reg) + offsetof(struct io_uring_zcrx_area_reg, field))
#define CTRL(index) (offsetof(__typeof__(more), ctrl.payload) + (index) * sizeof(uint64_t))
		{CTRL(0), 0, -EFAULT, false},
		{CTRL(1), 1, -EINVAL, false},
		{CTRL(5), 1, -EINVAL, false},
		{REG(rq_area_token), TOKEN(1), -EINVAL, false},
		/* From here on the token stands in the struct, and means nothing. */
		{REG(flags), 2, -EINVAL, true},
		{REG(__resv2), 1, -EINVAL, true},
		{REG(addr), 0, -EFAULT, true},
		{REG(addr), 1, -EINVAL, true},
		{REG(len), 1, -EINVAL, true},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		start(2);
		ask_for(2);
		memcpy((uint8_t *)&more + cases[i].at, &cases[i].value, sizeof(cases[i].value));
		CHECK_EQ(add(), cases[i].error);
		if (cases[i].at != REG(rq_area_token))
			CHECK_EQ(more.reg.rq_area_token, cases[i].is_token_told ? TOKEN(1) : 0);
		/* Nothing is left of it: the right one is area 1. */
		forget(2);
		ask_for(2);
		CHECK_EQ(add(), 0);
		CHECK_EQ(more.reg.rq_area_token, TOKEN(1));
		program_end(&program);
		forget(2);
	}
}

static void memory_that_is_not_there_or_may_not_be_written_is_refused(void)
{
	start(2);
	ask_for(2);
	CHECK_EQ(mprotect(more.bytes + PAGE, PAGE, PROT_READ), 0);
	CHECK_EQ(add(), -EFAULT);
	CHECK_EQ(more.reg.rq_area_token, TOKEN(1));
	more.reg.rq_area_token = 0;
	CHECK_EQ(mprotect(&program.area[0], PAGE, PROT_READ | PROT_WRITE), 0);
	CHECK_EQ(munmap(more.bytes + PAGE, PAGE), 0);
	CHECK_EQ(add(), -EFAULT);
	program_end(&program);
	forget(1);
}

/* The struct can be read and not written: it is refused before anything is added. */
static void token_that_cannot_be_told_is_a_refusal(void)
{
	struct io_uring_zcrx_area_reg *frozen = (void *)pages(PAGE);

	start(2);
	ask_for(2);
	*frozen = more.reg;
	CHECK_EQ(mprotect(frozen, PAGE, PROT_READ), 0);
	more.ctrl.payload[0] = (uintptr_t)frozen;
	CHECK_EQ(add(), -EFAULT);
	more.ctrl.payload[0] = (uintptr_t)&more.reg;
	CHECK_EQ(add(), 0);
	CHECK_EQ(more.reg.rq_area_token, TOKEN(1));
	program_end(&program);
	munmap(frozen, PAGE);
	forget(2);
}

static void areas_have_buffers_of_one_size(void)
{
	program_init(&program, "7.3", 8, 64);
	program.reg.rx_buf_len = 4 * PAGE;
	munmap(program.area, 8 * PAGE);
	program.area = mmap((void *)0x7e0000000000, 8 * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	REQUIRE(program.area != MAP_FAILED);
	program.area_reg.addr = (uintptr_t)program.area;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	ask_for(2);
	CHECK_EQ(add(), -ERANGE);
	program_end(&program);
	forget(2);
}

static void there_are_1024_areas_at_most(void)
{
	start(1);
	ask_for(1);
	for (uint32_t id = 1; id < 1024; id++) {
		more.reg.rq_area_token = 0;
		CHECK_EQ(add(), 0);
		CHECK_EQ(more.reg.rq_area_token, TOKEN(id));
	}
	more.reg.rq_area_token = 0;
	CHECK_EQ(add(), -EINVAL);
	CHECK_EQ(more.reg.rq_area_token, TOKEN(1024));
	program_end(&program);
	forget(1);
}

/* ---- how they serve --------------------------------------------------------------------- */

/* Bytes of a completion are where its offset says, in the area that it names. */
static const uint8_t *bytes_of(const struct zcrx_emu_cqe *cqe)
{
	uint64_t at = cqe->off & (TOKEN(1) - 1);

	REQUIRE(cqe->off >> 48 <= 1);
	return (cqe->off >> 48 ? more.bytes : program.area) + at;
}

static void an_added_area_serves_when_the_first_has_no_buffer(void)
{
	uint32_t in_second = 0, count;

	start(2);
	CHECK_EQ(receive(&program, 1, 2 * PAGE, NULL, cqes), 2);
	ask_for(3);
	CHECK_EQ(add(), 0);
	/* Bytes of three more buffers fit, and return by return each buffer comes again. */
	count = receive(&program, 1, 3 * PAGE, NULL, cqes + 2) + 2;
	CHECK_EQ(count, 5);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < count; i++) {
			CHECK_EQ(cqes[i].res, PAGE);
			CHECK_EQ(bytes_of(&cqes[i])[17], 'b');
			in_second += cqes[i].off >> 48 == 1;
			give_back(&program, &cqes[i]);
		}
		CHECK_EQ(receive(&program, 1, 5 * PAGE, NULL, cqes), count);
	}
	CHECK_EQ(in_second, 9);
	for (uint32_t i = 0; i < count; i++)
		give_back(&program, &cqes[i]);
	CHECK_EQ(zcrx_emu_finish(program.emu), 0);
	program_end(&program);
	forget(3);
}

static void a_copy_goes_into_an_added_area_too(void)
{
	static const struct zcrx_emu_shape copied = {.copy_percent = 100};

	program_init(&program, "7.3", 1, 64);
	program.reg.if_idx = 0;
	program.reg.flags = 2; /* ZCRX_REG_NODEV */
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
	ask_for(1);
	CHECK_EQ(add(), 0);
	CHECK_EQ(receive(&program, 1, 2 * PAGE, &copied, cqes), 2);
	CHECK_EQ(cqes[0].off, 0);
	CHECK_EQ(cqes[1].off, TOKEN(1));
	CHECK_EQ(more.bytes[PAGE - 1], 'b');
	program_end(&program);
	forget(1);
}

/* The NIC of a queue that was too small fills the descriptors that were empty. */
static void descriptors_get_buffers_of_an_added_area(void)
{
	program_init(&program, "7.3", 2, 64);
	program.options.rx_descriptors = 4;
	program.options.mtu = PAGE;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	find_ring(&program);
	arm(&program, 1);
	ask_for(4);
	CHECK_EQ(add(), 0);
	CHECK_EQ(receive(&program, 1, 6 * PAGE, NULL, cqes), 6);
	program_end(&program);
	forget(4);
}

/* ---- what is found ----------------------------------------------------------------------- */

static void start_with_two(void)
{
	start(2);
	ask_for(2);
	CHECK_EQ(add(), 0);
	CHECK_EQ(receive(&program, 1, 4 * PAGE, NULL, cqes), 4);
}

static void end_with(uint32_t kind, const char *says)
{
	char text[16384];

	check_found(&program, kind, 1);
	zcrx_emu_report_text(program.emu, text, sizeof(text));
	CHECK(strstr(text, says));
	program_end(&program);
	forget(2);
}

static void return_all(void)
{
	for (uint32_t i = 0; i < 4; i++)
		give_back(&program, &cqes[i]);
}

static void entries_of_areas_that_there_are_not_are_found(void)
{
	start_with_two();
	return_all();
	put_rqe(&program, TOKEN(2), PAGE, 0);
	zcrx_emu_finish(program.emu);
	end_with(ZCRX_EMU_BAD_AREA,
		 "names area 2 (off 0x2000000000000), and the last one is area 1");

	start_with_two();
	return_all();
	put_rqe(&program, TOKEN(1) | 2 * PAGE, PAGE, 0);
	zcrx_emu_finish(program.emu);
	end_with(ZCRX_EMU_BAD_INDEX, "names buffer 2 (off 0x1000000002000) of an area of 2");
}

static void what_is_done_to_buffers_of_an_added_area_is_found(void)
{
	start_with_two();
	for (uint32_t i = 0; i < 4; i++) {
		if (cqes[i].off != TOKEN(1))
			give_back(&program, &cqes[i]);
	}
	zcrx_emu_finish(program.emu);
	end_with(ZCRX_EMU_NOT_RETURNED, "of buffer 2 ");

	start_with_two();
	return_all();
	put_rqe(&program, TOKEN(1) | PAGE, PAGE, 0);
	zcrx_emu_finish(program.emu);
	end_with(ZCRX_EMU_TWICE, "buffer 3");

	start_with_two();
	return_all();
	zcrx_emu_drain(program.emu, 0);
	CHECK_EQ(more.bytes[PAGE], 0xdb); /* poisoned, where it is */
	more.bytes[PAGE + 5] = 1;
	zcrx_emu_finish(program.emu);
	end_with(ZCRX_EMU_WRITTEN, "byte 5 of buffer 3 is 0x01");
}

AT_EACH_LEVEL(only_a_level_with_areas_has_the_call)

CHECK_MAIN(LEVELS(only_a_level_with_areas_has_the_call),
	   CASE(mistakes_have_the_kernels_codes_in_its_order),
	   CASE(memory_that_is_not_there_or_may_not_be_written_is_refused),
	   CASE(token_that_cannot_be_told_is_a_refusal), CASE(areas_have_buffers_of_one_size),
	   CASE(there_are_1024_areas_at_most),
	   CASE(an_added_area_serves_when_the_first_has_no_buffer),
	   CASE(a_copy_goes_into_an_added_area_too), CASE(descriptors_get_buffers_of_an_added_area),
	   CASE(entries_of_areas_that_there_are_not_are_found),
	   CASE(what_is_done_to_buffers_of_an_added_area_is_found))
