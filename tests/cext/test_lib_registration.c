/* SPDX-License-Identifier: MIT */
/*
 * Registration at every level that this build plays: what it answers, each way to be
 * refused with its code and a reason that names the field, and nothing left of it.
 */
#include "lib_program.h"
#include "lib/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static struct program program;

/* It is refused so, says why, leaves the structs alone, and the right one succeeds afterwards. */
static void check_refused(int error, const char *word)
{
	struct io_uring_zcrx_ifq_reg reg = program.reg, before = program.reg;
	struct io_uring_region_desc region = program.region_reg;
	struct io_uring_zcrx_area_reg area = program.area_reg;
	uint8_t marked[PAGE];

	memset(program.region, 0x5a, PAGE);
	memset(marked, 0x5a, PAGE);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &reg), -error);
	if (!strstr(zcrx_emu_why(program.emu), word))
		fprintf(stderr, "%s: not in \"%s\"\n", word, zcrx_emu_why(program.emu));
	CHECK(strstr(zcrx_emu_why(program.emu), word) != NULL);
	CHECK(memcmp(&reg, &before, sizeof(reg)) == 0);
	CHECK(memcmp(&region, &program.region_reg, sizeof(region)) == 0);
	CHECK(memcmp(&area, &program.area_reg, sizeof(area)) == 0);
	CHECK(memcmp(program.region, marked, PAGE) == 0);
	program_end(&program);
}

static void prepare(const char *level)
{
	program_init(&program, level, 8, 16);
	program_create(&program);
}

/* One field at a time is wrong: `statement` makes it so. */
#define REFUSED(level, error, word, statement) \
	do {                                   \
		prepare(level);                \
		statement;                     \
		check_refused(error, word);    \
	} while (0)

static void offsets_are_the_levels(const char *level)
{
	bool is_old = strcmp(level, "6.15") == 0;
	bool is_split = strcmp(level, "seed") == 0 || strcmp(level, "7.3") == 0;

	prepare(level);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	CHECK_EQ(program.reg.offsets.head, 0);
	CHECK_EQ(program.reg.offsets.tail, is_split ? 64 : 4);
	CHECK_EQ(program.reg.offsets.rqes, is_split ? 128 : is_old ? 8 : 64);
	CHECK_EQ(program.reg.zcrx_id, 0);
	CHECK_EQ(program.area_reg.rq_area_token, 0);
	CHECK_EQ(program.region_reg.mmap_offset, 0);
	CHECK(strcmp(zcrx_emu_why(program.emu), "") == 0);
	program_end(&program);
}

static void header_is_cleared_from_7_1_on(const char *level)
{
	bool stays = strcmp(level, "6.15") == 0 || strcmp(level, "6.18") == 0;
	uint32_t tail;

	prepare(level);
	memset(program.region, 0x5a, PAGE);
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	memcpy(&tail, program.region + program.reg.offsets.tail, sizeof(tail));
	CHECK_EQ(tail, stays ? 0x5a5a5a5aU : 0);
	/* The entries are left as they are at every level. */
	CHECK_EQ(program.region[program.reg.offsets.rqes], 0x5a);
	program_end(&program);
}

static void each_field_is_refused_with_its_code_and_a_reason(const char *level)
{
	bool has_len = strcmp(level, "seed") != 0 && level[0] >= '7';
	bool has_events = strcmp(level, "7.2") == 0 || strcmp(level, "7.3") == 0;

	REFUSED(level, EINVAL, "DEFER_TASKRUN", {
		zcrx_emu_destroy(program.emu);
		program.options.ring_flags = 1U << 11;
		program_create(&program);
	});
	REFUSED(level, EINVAL, "CQE32", {
		zcrx_emu_destroy(program.emu);
		program.options.ring_flags = 1U << 13;
		program_create(&program);
	});
	REFUSED(level, EFAULT, "region_ptr", program.reg.region_ptr = 0);
	REFUSED(level, EFAULT, "area_ptr", program.reg.area_ptr = 8);
	REFUSED(level, EINVAL, "__resv", program.reg.__resv[1] = 1);
	REFUSED(level, EINVAL, "__resv", program.reg.__resv[2] = 1);
	if (has_events)
		REFUSED(level, EFAULT, "event_desc", program.reg.event_desc = 8);
	else
		REFUSED(level, EINVAL, "__resv", program.reg.__resv[0] = 8);
	REFUSED(level, EINVAL, "zcrx_id", program.reg.zcrx_id = 1);
	REFUSED(level, EINVAL, "if_rxq", program.reg.if_rxq = UINT32_MAX);
	REFUSED(level, EINVAL, "rq_entries: 0", program.reg.rq_entries = 0);
	REFUSED(level, EINVAL, "rq_entries: 32769", program.reg.rq_entries = 32769);
	REFUSED(level, EINVAL, "flags: 0x100", program.reg.flags = 0x100);
	REFUSED(level, EINVAL, "region size", program.region_reg.size = 128);
	REFUSED(level, EINVAL, "region __resv", program.region_reg.__resv[3] = 1);
	REFUSED(level, EINVAL, "region flags", program.region_reg.flags = 2);
	REFUSED(level, EFAULT, "user_addr", program.region_reg.flags = 0);
	REFUSED(level, EFAULT, "user_addr", program.region_reg.user_addr = 0);
	REFUSED(level, EINVAL, "mmap_offset", program.region_reg.mmap_offset = PAGE);
	REFUSED(level, EINVAL, "id", program.region_reg.id = 1);
	REFUSED(level, EINVAL, "multiples", program.region_reg.user_addr += 8);
	REFUSED(level, EINVAL, "multiples", program.region_reg.size += 8);
	REFUSED(level, E2BIG, "region size", program.region_reg.size = 1ULL << 44);
	REFUSED(level, EOVERFLOW, "beyond", program.region_reg.user_addr = -(uint64_t)PAGE;
		program.region_reg.size = 2 * PAGE);
	REFUSED(level, EFAULT, "not all memory", program.region_reg.user_addr = PAGE);
	REFUSED(level, EINVAL, "area flags", program.area_reg.flags = 2);
	REFUSED(level, EINVAL, "rq_area_token", program.area_reg.rq_area_token = 1);
	REFUSED(level, EINVAL, "area __resv2", program.area_reg.__resv2[1] = 1);
	REFUSED(level, EINVAL, "dmabuf_fd", program.area_reg.dmabuf_fd = 3);
	REFUSED(level, EINVAL, "area addr", program.area_reg.addr += 8);
	REFUSED(level, EINVAL, "area addr", program.area_reg.len -= 8);
	REFUSED(level, EFAULT, "area len", program.area_reg.len = 0);
	REFUSED(level, EFAULT, "area len", program.area_reg.len = 2ULL << 30);
	REFUSED(level, EOVERFLOW, "beyond", program.area_reg.addr = -(uint64_t)PAGE);
	REFUSED(level, EFAULT, "area addr", program.area_reg.addr = PAGE);
	REFUSED(level, ENODEV, "if_idx", program.reg.if_idx = 0);
	if (!has_len) {
		REFUSED(level, EINVAL, "rx_buf_len", program.reg.rx_buf_len = 4096);
		/* Of an import nothing is known yet, whatever else such a struct has. */
		REFUSED(level, EINVAL, "flags: 0x1", program.reg.flags = 1);
		REFUSED(level, EINVAL, "rq_entries", program.reg.flags = 1;
			program.reg.rq_entries = 0; program.reg.area_ptr = 0);
		return;
	}
	REFUSED(level, EINVAL, "rx_buf_len", program.reg.rx_buf_len = 2048);
	REFUSED(level, EINVAL, "rx_buf_len", program.reg.rx_buf_len = 12288);
	REFUSED(level, EINVAL, "IMPORT", program.reg.flags = 1);
	REFUSED(level, EINVAL, "NODEV", program.reg.flags = 2);
	REFUSED(level, EOPNOTSUPP, "rx_buf_len", program.reg.flags = 2; program.reg.if_idx = 0;
		program.reg.rx_buf_len = 8192);
}

/* Of two mistakes the one that the kernel looks at first is told. */
static void of_two_mistakes_the_kernels_first_is_told(const char *level)
{
	bool is_old = strcmp(level, "seed") == 0 || strcmp(level, "6.15") == 0;

	REFUSED(level, EINVAL, "__resv", program.reg.__resv[1] = 1; program.reg.area_ptr = 8);
	REFUSED(level, EFAULT, "area_ptr", program.reg.area_ptr = 8; program.region_reg.flags = 2);
	REFUSED(level, EINVAL, "region flags", program.region_reg.flags = 2;
		program.area_reg.flags = 2);
	/* From 6.16 on the device is looked for before the area is looked at, and its end first. */
	if (is_old) {
		REFUSED(level, EINVAL, "area flags", program.area_reg.flags = 2;
			program.reg.if_idx = 0);
		REFUSED(level, EINVAL, "multiples", program.area_reg.addr += 8;
			program.area_reg.len = 0);
	} else {
		REFUSED(level, ENODEV, "if_idx", program.area_reg.flags = 2;
			program.reg.if_idx = 0);
		REFUSED(level, EFAULT, "area len", program.area_reg.addr += 8;
			program.area_reg.len = 0);
	}
}

static void dma_bufs_are_checked_and_refused(const char *level)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (strcmp(level, "seed") == 0 || strcmp(level, "6.15") == 0) {
		close(file);
		return;
	}
	REFUSED(level, EINVAL, "area addr", program.area_reg.flags = 1);
	REFUSED(level, EBADF, "dmabuf_fd", program.area_reg.flags = 1; program.area_reg.addr = 0;
		program.area_reg.dmabuf_fd = UINT32_MAX);
	REFUSED(level, EINVAL, "dmabuf_fd", program.area_reg.flags = 1; program.area_reg.addr = 0;
		program.area_reg.dmabuf_fd = (uint32_t)file);
	close(file);
}

/* ---- queries ------------------------------------------------------------------------------ */

static int ask(uint32_t op, void *data, uint32_t size, struct io_uring_query_hdr *hdr)
{
	*hdr = (struct io_uring_query_hdr){
		.query_op = op, .query_data = (uintptr_t)data, .size = size};
	return zcrx_emu_register(program.emu, 35, hdr, 0);
}

static void queries_tell_what_the_level_has(const char *level)
{
	uint32_t ops = level[0] != '7'		 ? strcmp(level, "6.18") == 0 :
		       strcmp(level, "7.1") == 0 ? 3 :
						   4;
	struct io_uring_query_zcrx zcrx, none = {0};
	struct io_uring_query_zcrx_event event;
	struct io_uring_query_hdr hdr;

	prepare(level);
	if (ops == 0) {
		CHECK_EQ(ask(1, &zcrx, sizeof(zcrx), &hdr), -EINVAL);
		program_end(&program);
		return;
	}
	CHECK_EQ(zcrx_emu_register(program.emu, 35, NULL, 0), 0);
	CHECK_EQ(zcrx_emu_register(program.emu, 35, &hdr, 1), -EINVAL);
	memset(&zcrx, 0x5a, sizeof(zcrx));
	CHECK_EQ(ask(1, &zcrx, sizeof(zcrx), &hdr), 0);
	if (ops == 1) {
		/* What there is no answer to is cleared. */
		CHECK_EQ(hdr.result, -EOPNOTSUPP);
		CHECK_EQ(hdr.size, 0);
		CHECK_BYTES(&zcrx, &none, sizeof(zcrx));
		program_end(&program);
		return;
	}
	CHECK_EQ(hdr.result, 0);
	CHECK_EQ(hdr.size, sizeof(zcrx));
	CHECK_EQ(zcrx.register_flags, 3);
	CHECK_EQ(zcrx.area_flags, 1);
	CHECK_EQ(zcrx.nr_ctrl_opcodes, strcmp(level, "7.1") == 0 ? 2 :
				       strcmp(level, "7.2") == 0 ? 3 :
								   4);
	CHECK_EQ(zcrx.features, ops == 3 ? 1 : 3);
	/* As a program computes where entries begin. */
	CHECK_EQ((zcrx.rq_hdr_size + zcrx.rq_hdr_alignment - 1) / zcrx.rq_hdr_alignment *
			 zcrx.rq_hdr_alignment,
		 strcmp(level, "7.3") == 0 ? 128 : 64);
	CHECK_EQ(ask(3, &event, sizeof(event), &hdr), 0);
	CHECK_EQ(hdr.result, ops == 3 ? -EOPNOTSUPP : 0);
	CHECK_EQ(event.event_flags, ops == 3 ? 0 : 3);
	CHECK_EQ(event.stats_size, ops == 3 ? 0 : 16);
	CHECK_EQ(event.stats_off_alignment, ops == 3 ? 0 : 8);
	CHECK_EQ(ask(0, &zcrx, sizeof(zcrx), &hdr), 0);
	CHECK_EQ(hdr.result, -EOPNOTSUPP);
	program_end(&program);
}

static void queries_are_cut_chained_and_checked(const char *level)
{
	struct io_uring_query_hdr first, second;
	uint8_t bytes[PAGE], other[64];

	if (level[0] != '7')
		return;
	prepare(level);
	memset(bytes, 0x5a, sizeof(bytes));
	CHECK_EQ(ask(1, bytes, 12, &first), 0);
	CHECK_EQ(first.size, 12);
	CHECK_EQ(bytes[0], 3);
	CHECK_EQ(bytes[12], 0x5a);
	/* Asked for more than there is: the rest is cleared. */
	CHECK_EQ(ask(1, bytes, 100, &first), 0);
	CHECK_EQ(first.size, 40);
	CHECK_EQ(bytes[99], 0);
	CHECK_EQ(bytes[100], 0x5a);
	CHECK_EQ(ask(1, bytes, 0, &first), 0);
	CHECK_EQ(first.result, -EINVAL);
	CHECK_EQ(ask(1, bytes, PAGE + 1, &first), -E2BIG);
	CHECK_EQ(ask(1, (void *)8, 40, &first), -EFAULT);
	CHECK_EQ(zcrx_emu_register(program.emu, 35, (void *)8, 0), -EFAULT);
	/* Each has its own result; a circle ends. */
	second = (struct io_uring_query_hdr){
		.query_op = 9, .query_data = (uintptr_t)other, .size = sizeof(other)};
	first = (struct io_uring_query_hdr){.query_op = 1,
					    .query_data = (uintptr_t)bytes,
					    .size = 40,
					    .next_entry = (uintptr_t)&second};
	CHECK_EQ(zcrx_emu_register(program.emu, 35, &first, 0), 0);
	CHECK_EQ(first.result, 0);
	CHECK_EQ(second.result, -EOPNOTSUPP);
	second.result = 0;
	second.next_entry = (uintptr_t)&first;
	CHECK_EQ(zcrx_emu_register(program.emu, 35, &first, 0), -ERANGE);
	program_end(&program);
}

static void area_that_may_not_be_written_is_refused(const char *level)
{
	prepare(level);
	CHECK_EQ(mprotect(program.area + 3 * PAGE, PAGE, PROT_READ), 0);
	check_refused(EFAULT, "area addr");
}

static void refused_registration_leaves_nothing(const char *level)
{
	prepare(level);
	program.reg.if_idx = 0;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), -ENODEV);
	program.reg.if_idx = 2;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	CHECK_EQ(program.reg.zcrx_id, 0);
	program_end(&program);
}

static void second_queue_is_as_the_level_has_it(const char *level)
{
	bool has_one = strcmp(level, "seed") == 0 || strcmp(level, "6.15") == 0;
	struct io_uring_zcrx_ifq_reg reg;

	prepare(level);
	reg = program.reg;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	program.area_reg.rq_area_token = 0;
	if (has_one) {
		CHECK_EQ(zcrx_emu_register_ifq(program.emu, &reg), -EBUSY);
	} else {
		CHECK_EQ(zcrx_emu_register_ifq(program.emu, &reg), -EEXIST);
		reg.if_rxq = 1;
		CHECK_EQ(zcrx_emu_register_ifq(program.emu, &reg), 0);
		CHECK_EQ(reg.zcrx_id, 1);
	}
	program_end(&program);
}

static void entries_are_clamped_and_rounded(const char *level)
{
	prepare(level);
	zcrx_emu_destroy(program.emu);
	program.options.ring_flags = 1U << 13 | 1U << 11 | 1U << 4;
	program_create(&program);
	program.reg.rq_entries = 9;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	CHECK_EQ(program.reg.rq_entries, 16);
	program_end(&program);

	prepare(level);
	zcrx_emu_destroy(program.emu);
	program.options.ring_flags = 1U << 13 | 1U << 11 | 1U << 4;
	program_create(&program);
	program.reg.rq_entries = 40000;
	/* Clamped to 32768, for which the region is too small: that is what is said. */
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), -EINVAL);
	CHECK(strstr(zcrx_emu_why(program.emu), "32768 entries") != NULL);
	program_end(&program);
}

static void region_of_the_kernel_is_mapped_by_its_offset(const char *level)
{
	uint8_t *region;

	prepare(level);
	program.region_reg.user_addr = 0;
	program.region_reg.flags = 0;
	CHECK_EQ(zcrx_emu_register_ifq(program.emu, &program.reg), 0);
	CHECK(program.region_reg.mmap_offset != 0);
	region =
		zcrx_emu_mmap(program.emu, program.region_reg.size, program.region_reg.mmap_offset);
	REQUIRE(region);
	region[program.region_reg.size - 1] = 1;
	CHECK(zcrx_emu_mmap(program.emu, program.region_reg.size + PAGE,
			    program.region_reg.mmap_offset) == NULL);
	CHECK(zcrx_emu_mmap(program.emu, PAGE, 0) == NULL);
	program_end(&program);
}

static void other_calls_have_the_kernels_errors(const char *level)
{
	bool has_ctrl = strcmp(level, "seed") != 0 && level[0] >= '7';
	struct zcrx_ctrl ctrl;

	memset(&ctrl, 0, sizeof(ctrl));
	prepare(level);
	CHECK_EQ(zcrx_emu_register(program.emu, 99, &ctrl, 1), -EINVAL);
	CHECK_EQ(zcrx_emu_register(program.emu, 32, &program.reg, 2), -EINVAL);
	CHECK_EQ(zcrx_emu_register(program.emu, 32, NULL, 1), -EINVAL);
	CHECK_EQ(zcrx_emu_register(program.emu, 32, &program.reg, 1), 0);
	if (!has_ctrl) {
		CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EINVAL);
		program_end(&program);
		return;
	}
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 1), -EINVAL);
	CHECK_EQ(zcrx_emu_register(program.emu, 36, NULL, 0), -EFAULT);
	ctrl.__resv[1] = 1;
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EFAULT);
	ctrl.__resv[1] = 0;
	ctrl.zcrx_id = 1;
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -ENXIO);
	ctrl.zcrx_id = 0;
	ctrl.op = 9;
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EOPNOTSUPP);
	ctrl.op = strcmp(level, "7.1") == 0 ? 2 : strcmp(level, "7.2") == 0 ? 3 : 4;
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EOPNOTSUPP);
	program_end(&program);
}

static void options_grow_and_are_checked(void)
{
	struct zcrx_emu_options options = {.size = sizeof(options), .kernel = "5.4"};
	struct zcrx_emu *emu = NULL;

	CHECK_EQ(zcrx_emu_create(&options, &emu), -EINVAL);
	options.kernel = NULL;
	options.flags = 1U << 31;
	CHECK_EQ(zcrx_emu_create(&options, &emu), -EINVAL);
	options.flags = 0;
	options.size = sizeof(options) + 8;
	CHECK_EQ(zcrx_emu_create(&options, &emu), -EINVAL);
	/* One who knows the first two only. */
	options.size = offsetof(struct zcrx_emu_options, seed);
	CHECK_EQ(zcrx_emu_create(&options, &emu), 0);
	zcrx_emu_destroy(emu);
	CHECK_EQ(zcrx_emu_create(NULL, &emu), 0);
	zcrx_emu_destroy(emu);
	zcrx_emu_destroy(NULL);
}

/* Whatever a page of this machine is: what is asked for begins and ends within one. */
static void memory_is_pinned_by_whole_pages(void)
{
	const struct zcrx_emu_memory *own = &zcrx_lib_own_memory;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint8_t *memory =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t gone = (uint64_t)(uintptr_t)memory + page;

	REQUIRE(memory != MAP_FAILED);
	REQUIRE(munmap(memory + page, page) == 0);
	CHECK_EQ(own->pin(NULL, gone - page + 64, page - 64), 0);
	CHECK_EQ(own->pin(NULL, gone - 64, 64), 0);
	CHECK_EQ(own->pin(NULL, gone - 64, 65), -EFAULT);
	CHECK_EQ(own->pin(NULL, gone + 64, 1), -EFAULT);
	munmap(memory, page);
}

AT_EACH_LEVEL(offsets_are_the_levels)
AT_EACH_LEVEL(header_is_cleared_from_7_1_on)
AT_EACH_LEVEL(each_field_is_refused_with_its_code_and_a_reason)
AT_EACH_LEVEL(of_two_mistakes_the_kernels_first_is_told)
AT_EACH_LEVEL(dma_bufs_are_checked_and_refused)
AT_EACH_LEVEL(queries_tell_what_the_level_has)
AT_EACH_LEVEL(queries_are_cut_chained_and_checked)
AT_EACH_LEVEL(area_that_may_not_be_written_is_refused)
AT_EACH_LEVEL(refused_registration_leaves_nothing)
AT_EACH_LEVEL(second_queue_is_as_the_level_has_it)
AT_EACH_LEVEL(entries_are_clamped_and_rounded)
AT_EACH_LEVEL(region_of_the_kernel_is_mapped_by_its_offset)
AT_EACH_LEVEL(other_calls_have_the_kernels_errors)

CHECK_MAIN(LEVELS(offsets_are_the_levels), LEVELS(header_is_cleared_from_7_1_on),
	   LEVELS(each_field_is_refused_with_its_code_and_a_reason),
	   LEVELS(of_two_mistakes_the_kernels_first_is_told),
	   LEVELS(dma_bufs_are_checked_and_refused), LEVELS(queries_tell_what_the_level_has),
	   LEVELS(queries_are_cut_chained_and_checked),
	   LEVELS(area_that_may_not_be_written_is_refused),
	   LEVELS(refused_registration_leaves_nothing), LEVELS(second_queue_is_as_the_level_has_it),
	   LEVELS(entries_are_clamped_and_rounded),
	   LEVELS(region_of_the_kernel_is_mapped_by_its_offset),
	   LEVELS(other_calls_have_the_kernels_errors), CASE(options_grow_and_are_checked),
	   CASE(memory_is_pinned_by_whole_pages))
