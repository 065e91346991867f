/* SPDX-License-Identifier: MIT */
/*
 * One interface queue and several rings: exported by a descriptor, imported by it, and alive
 * with all references that programs hold until the last of its users is gone.
 */
#include "lib_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct zcrx_emu_machine *machine;
static struct program one, other;
static struct zcrx_emu_cqe cqes[64];

static bool has_export(const char *level)
{
	return level[0] == '7';
}

static void start_one(const char *level, uint32_t buffers)
{
	CHECK_EQ(zcrx_emu_machine_create(&machine), 0);
	program_init(&one, level, buffers, 16);
	one.options.machine = machine;
	program_create(&one);
	REQUIRE(zcrx_emu_register_ifq(one.emu, &one.reg) == 0);
	find_ring(&one);
	arm(&one, 1);
}

static int export_one(void)
{
	struct zcrx_ctrl ctrl = {.op = 1};
	int fd;

	CHECK_EQ(zcrx_emu_register(one.emu, 36, &ctrl, 0), 0);
	memcpy(&fd, ctrl.payload, sizeof(fd));
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

/* Another ring of the machine, for a program that has the area and the refill ring, too. */
static void create_other(const char *level)
{
	memset(&other, 0, sizeof(other));
	other.options = one.options;
	other.cq_entries = CQES;
	other.area = one.area;
	other.region = one.region;
	other.buffers = one.buffers;
	other.entries = one.entries;
	other.options.kernel = level;
	program_create(&other);
}

static int import_into_other(int fd)
{
	other.reg = (struct io_uring_zcrx_ifq_reg){.if_idx = (uint32_t)fd, .flags = 1};
	return zcrx_emu_register_ifq(other.emu, &other.reg);
}

static void start_other(const char *level)
{
	int fd = export_one();

	create_other(level);
	CHECK_EQ(import_into_other(fd), 0);
	CHECK_EQ(close(fd), 0);
	find_ring(&other);
	arm(&other, 2);
}

/* The entry is written by whoever has the lock: here there is no other thread. */
static void give_back_by(struct program *program, const struct zcrx_emu_cqe *cqe)
{
	program->my_tail = one.my_tail > other.my_tail ? one.my_tail : other.my_tail;
	give_back(program, cqe);
}

static void end_all(void)
{
	zcrx_emu_destroy(other.emu);
	program_end(&one);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
	other.emu = NULL;
}

static void two_rings_receive_from_one_queue(const char *level)
{
	if (!has_export(level))
		return;
	start_one(level, 4);
	start_other(level);
	CHECK_EQ(other.reg.zcrx_id, 0);
	CHECK_EQ(memcmp(&other.reg.offsets, &one.reg.offsets, sizeof(one.reg.offsets)), 0);
	CHECK_EQ(other.reg.rq_entries, 0);
	for (uint32_t round = 0; round < 20; round++) {
		struct program *program = round % 2 ? &other : &one;

		CHECK_EQ(receive(program, 1 + round % 2, 2 * PAGE, NULL, cqes), 2);
		CHECK_EQ(one.area[cqes[0].off], round % 2 ? 'c' : 'b');
		give_back_by(round % 3 ? program : &one, &cqes[0]);
		give_back_by(program, &cqes[1]);
	}
	CHECK_EQ(zcrx_emu_finish(one.emu), 0);
	CHECK_EQ(zcrx_emu_finish(other.emu), 0);
	end_all();
}

static void references_stay_until_the_last_user_is_gone(const char *level)
{
	int fd;

	if (!has_export(level))
		return;
	start_one(level, 2);
	CHECK_EQ(receive(&one, 1, PAGE, NULL, cqes), 1);
	fd = export_one();
	zcrx_emu_destroy(one.emu);
	/* Held by nothing but the descriptor: imported again the buffer is still out. */
	create_other(level);
	CHECK_EQ(import_into_other(fd), 0);
	CHECK_EQ(close(fd), 0);
	find_ring(&other);
	arm(&other, 2);
	CHECK_EQ(zcrx_emu_deliver(other.emu, 0, 2, one.region, 2, NULL), 2);
	CHECK_EQ(zcrx_emu_deliver(other.emu, 0, 2, one.region, 2, NULL), 0);
	give_back_by(&other, &cqes[0]);
	CHECK_EQ(zcrx_emu_deliver(other.emu, 0, 2, one.region, 2, NULL), 2);
	zcrx_emu_step(other.emu);
	while (next_cqe(&other, &cqes[0]))
		give_back_by(&other, &cqes[0]);
	CHECK_EQ(zcrx_emu_finish(other.emu), 0);
	one.emu = NULL;
	end_all();
}

/* Whoever forgets the descriptor keeps the queue: nobody else can register it. */
static void queue_is_free_once_the_last_descriptor_is_closed(const char *level)
{
	int fd, copy;

	if (!has_export(level))
		return;
	start_one(level, 2);
	fd = export_one();
	copy = dup(fd);
	zcrx_emu_destroy(one.emu);
	program_create(&one);
	one.reg.zcrx_id = 0;
	CHECK_EQ(zcrx_emu_register_ifq(one.emu, &one.reg), -EEXIST);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(zcrx_emu_register_ifq(one.emu, &one.reg), -EEXIST);
	CHECK_EQ(close(copy), 0);
	CHECK_EQ(zcrx_emu_register_ifq(one.emu, &one.reg), 0);
	program_end(&one);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
}

/* Wherever the descriptor is, and however its holder ends. */
static void killed_holder_of_a_descriptor_gives_the_queue_up(const char *level)
{
	pid_t child;
	int fd;

	if (!has_export(level))
		return;
	start_one(level, 2);
	fd = export_one();
	child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		for (;;)
			pause();
	}
	CHECK_EQ(close(fd), 0);
	zcrx_emu_destroy(one.emu);
	program_create(&one);
	one.reg.zcrx_id = 0;
	CHECK_EQ(zcrx_emu_register_ifq(one.emu, &one.reg), -EEXIST);
	CHECK_EQ(kill(child, SIGKILL), 0);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	CHECK_EQ(zcrx_emu_register_ifq(one.emu, &one.reg), 0);
	program_end(&one);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
}

static void exports_and_imports_are_refused_with_the_kernels_codes(const char *level)
{
	struct zcrx_ctrl ctrl = {.op = 1, .payload = {0, 0, 0, 0, 0, 1}};
	int fd, unrelated;

	if (!has_export(level))
		return;
	start_one(level, 2);
	CHECK_EQ(zcrx_emu_register(one.emu, 36, &ctrl, 0), -EINVAL);
	CHECK(strstr(zcrx_emu_why(one.emu), "ZCRX_CTRL_EXPORT") != NULL);
	fd = export_one();
	create_other(level);
#define REFUSED(error, word, field, value)                                                      \
	do {                                                                                    \
		other.reg = (struct io_uring_zcrx_ifq_reg){.if_idx = (uint32_t)fd, .flags = 1}; \
		other.reg.field = (value);                                                      \
		CHECK_EQ(zcrx_emu_register_ifq(other.emu, &other.reg), -(error));               \
		CHECK(strstr(zcrx_emu_why(other.emu), word) != NULL);                           \
	} while (0)
	REFUSED(EINVAL, "if_rxq", if_rxq, 1);
	REFUSED(EINVAL, "rq_entries", rq_entries, 1);
	REFUSED(EINVAL, "area_ptr", area_ptr, (uintptr_t)&one.area_reg);
	REFUSED(EINVAL, "region_ptr", region_ptr, (uintptr_t)&one.region_reg);
	REFUSED(EINVAL, "zcrx_id", zcrx_id, 1);
	REFUSED(EINVAL, "flags", flags, 3);
	REFUSED(EINVAL, "flags", flags, 5);
	REFUSED(EINVAL, "__resv", __resv[1], 1);
	REFUSED(EBADF, "if_idx", if_idx, UINT32_MAX);
	unrelated = open("/dev/null", O_RDONLY | O_CLOEXEC);
	REFUSED(EBADF, "if_idx", if_idx, (uint32_t)unrelated);
	CHECK_EQ(close(unrelated), 0);
	REFUSED(EBADF, "if_idx", if_idx, (uint32_t)unrelated);
	zcrx_emu_destroy(other.emu);
	/* A ring of another kernel knows nothing of it, and rings must be as zcrx needs them. */
	other.options.machine = NULL;
	program_create(&other);
	CHECK_EQ(import_into_other(fd), -EBADF);
	zcrx_emu_destroy(other.emu);
	other.options.machine = machine;
	other.options.ring_flags = CQE32;
	program_create(&other);
	CHECK_EQ(import_into_other(fd), -EINVAL);
	CHECK_EQ(close(fd), 0);
	end_all();
}

/* What the program could not be told of it does not have. */
static void struct_that_cannot_be_written_leaves_no_descriptor(const char *level)
{
	uint8_t *page = pages(PAGE);
	struct zcrx_ctrl ctrl = {.op = 1};
	int first, next;

	if (!has_export(level))
		return;
	start_one(level, 2);
	memcpy(page, &ctrl, sizeof(ctrl));
	CHECK_EQ(mprotect(page, PAGE, PROT_READ), 0);
	first = dup(0);
	close(first);
	CHECK_EQ(zcrx_emu_register(one.emu, 36, page, 0), -EFAULT);
	next = dup(0);
	close(next);
	CHECK_EQ(next, first);
	munmap(page, PAGE);
	CHECK_EQ(zcrx_emu_finish(one.emu), 0);
	program_end(&one);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
}

static void descriptor_left_open_is_reported_once_all_are_done(const char *level)
{
	int fd;

	if (!has_export(level))
		return;
	start_one(level, 2);
	start_other(level);
	fd = export_one();
	/* It may be on its way to another ring. */
	CHECK_EQ(zcrx_emu_finish(one.emu), 0);
	CHECK_EQ(zcrx_emu_finish(other.emu), 1);
	check_found(&other, ZCRX_EMU_EXPORT_OPEN, 1);
	end_all();
	CHECK_EQ(close(fd), 0);
}

/* What one ring was given another one returns, and what nobody does is told once. */
static void fragments_are_the_queues_and_not_a_rings(const char *level)
{
	if (!has_export(level))
		return;
	start_one(level, 8);
	start_other(level);
	CHECK_EQ(receive(&one, 1, 2 * PAGE, NULL, cqes), 2);
	CHECK_EQ(receive(&other, 2, PAGE, NULL, &cqes[2]), 1);
	CHECK_EQ(zcrx_emu_finish(one.emu), 0);
	give_back_by(&other, &cqes[0]);
	CHECK_EQ(zcrx_emu_drain(other.emu, 0), 1);
	zcrx_emu_destroy(one.emu);
	one.emu = NULL;
	give_back_by(&other, &cqes[0]);
	CHECK_EQ(zcrx_emu_finish(other.emu), 3);
	CHECK_EQ(found(&other, ZCRX_EMU_TWICE), 1);
	CHECK_EQ(found(&other, ZCRX_EMU_NOT_RETURNED), 2);
	end_all();
}

static void region_of_the_kernel_is_mapped_through_the_importers_id(const char *level)
{
	uint64_t offset;
	int fd;

	if (!has_export(level))
		return;
	CHECK_EQ(zcrx_emu_machine_create(&machine), 0);
	program_init(&one, level, 4, 16);
	one.options.machine = machine;
	one.region_reg.user_addr = 0;
	one.region_reg.flags = 0;
	program_create(&one);
	CHECK_EQ(zcrx_emu_register_ifq(one.emu, &one.reg), 0);
	offset = one.region_reg.mmap_offset;
	fd = export_one();
	create_other(level);
	CHECK_EQ(import_into_other(fd), 0);
	/* A second time: another id, the same queue. */
	CHECK_EQ(import_into_other(fd), 0);
	CHECK_EQ(other.reg.zcrx_id, 1);
	CHECK_EQ(close(fd), 0);
	CHECK(zcrx_emu_mmap(one.emu, PAGE, offset) != NULL);
	CHECK(zcrx_emu_mmap(other.emu, PAGE, offset) == zcrx_emu_mmap(one.emu, PAGE, offset));
	CHECK(zcrx_emu_mmap(other.emu, PAGE, offset + (1 << 16)) ==
	      zcrx_emu_mmap(one.emu, PAGE, offset));
	CHECK(zcrx_emu_mmap(other.emu, PAGE, offset + (2 << 16)) == NULL);
	end_all();
}

/* ---- descriptors of another process ------------------------------------------------------ */

/* Its table: what it calls 100 + i is ours at i. */
static int table[4];

static int install_there(void *context, int fd)
{
	CHECK(context == table);
	for (int i = 0; i < 4; i++) {
		if (table[i] < 0) {
			table[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
			return 100 + i;
		}
	}
	return -EMFILE;
}

static int fetch_there(void *context, int fd)
{
	CHECK(context == table);
	return fd < 100 || fd >= 104 || table[fd - 100] < 0 ?
		       -EBADF :
		       fcntl(table[fd - 100], F_DUPFD_CLOEXEC, 0);
}

static void descriptors_may_be_another_processs(const char *level)
{
	const struct zcrx_emu_descriptors there = {
		.context = table, .install = install_there, .fetch = fetch_there};
	struct zcrx_ctrl ctrl;
	int fd;

	if (!has_export(level))
		return;
	memset(table, 0xff, sizeof(table));
	start_one(level, 4);
	/* One ring is of that process, the other one of this. */
	create_other(level);
	zcrx_emu_destroy(other.emu);
	other.options.descriptors = &there;
	program_create(&other);
	fd = export_one();
	CHECK_EQ(import_into_other(fd), -EBADF);
	CHECK_EQ(install_there(table, fd), 100);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(import_into_other(100), 0);
	for (int i = 0; i < 4; i++) {
		ctrl = (struct zcrx_ctrl){.op = 1};
		CHECK_EQ(zcrx_emu_register(other.emu, 36, &ctrl, 0), i < 3 ? 0 : -EMFILE);
		memcpy(&fd, ctrl.payload, sizeof(fd));
		CHECK_EQ(fd, i < 3 ? 101 + i : 0);
	}
	CHECK_EQ(zcrx_emu_finish(one.emu), 0);
	CHECK_EQ(zcrx_emu_finish(other.emu), 4);
	check_found(&other, ZCRX_EMU_EXPORT_OPEN, 4);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(close(table[i]), 0);
	end_all();
}

/* ---- the machine ------------------------------------------------------------------------- */

static void device_queue_is_registered_once_on_a_machine(const char *level)
{
	struct program *second = &other;

	start_one(level, 2);
	program_init(second, level, 2, 16);
	second->options.machine = machine;
	program_create(second);
	CHECK_EQ(zcrx_emu_register_ifq(second->emu, &second->reg), -EEXIST);
	second->reg.if_rxq = 1;
	CHECK_EQ(zcrx_emu_register_ifq(second->emu, &second->reg), 0);
	CHECK_EQ(second->reg.zcrx_id, 0);
	program_end(second);
	program_end(&one);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
}

static void machine_is_of_one_level_and_outlives_its_rings(const char *level)
{
	struct zcrx_emu *emu = NULL;

	start_one(level, 2);
	one.options.kernel = strcmp(level, "6.18") == 0 ? "7.3" : "6.18";
	CHECK_EQ(zcrx_emu_create(&one.options, &emu), -EINVAL);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), -EBUSY);
	program_end(&one);
	/* Without rings it may be another kernel's. */
	CHECK_EQ(zcrx_emu_create(&one.options, &emu), 0);
	zcrx_emu_destroy(emu);
	CHECK_EQ(zcrx_emu_machine_destroy(machine), 0);
	CHECK_EQ(zcrx_emu_machine_destroy(NULL), 0);
}

AT_EACH_LEVEL(two_rings_receive_from_one_queue)
AT_EACH_LEVEL(references_stay_until_the_last_user_is_gone)
AT_EACH_LEVEL(queue_is_free_once_the_last_descriptor_is_closed)
AT_EACH_LEVEL(killed_holder_of_a_descriptor_gives_the_queue_up)
AT_EACH_LEVEL(exports_and_imports_are_refused_with_the_kernels_codes)
AT_EACH_LEVEL(struct_that_cannot_be_written_leaves_no_descriptor)
AT_EACH_LEVEL(descriptor_left_open_is_reported_once_all_are_done)
AT_EACH_LEVEL(fragments_are_the_queues_and_not_a_rings)
AT_EACH_LEVEL(region_of_the_kernel_is_mapped_through_the_importers_id)
AT_EACH_LEVEL(descriptors_may_be_another_processs)
AT_EACH_LEVEL(device_queue_is_registered_once_on_a_machine)
AT_EACH_LEVEL(machine_is_of_one_level_and_outlives_its_rings)

CHECK_MAIN(LEVELS(two_rings_receive_from_one_queue),
	   LEVELS(references_stay_until_the_last_user_is_gone),
	   LEVELS(queue_is_free_once_the_last_descriptor_is_closed),
	   LEVELS(killed_holder_of_a_descriptor_gives_the_queue_up),
	   LEVELS(exports_and_imports_are_refused_with_the_kernels_codes),
	   LEVELS(struct_that_cannot_be_written_leaves_no_descriptor),
	   LEVELS(descriptor_left_open_is_reported_once_all_are_done),
	   LEVELS(fragments_are_the_queues_and_not_a_rings),
	   LEVELS(region_of_the_kernel_is_mapped_through_the_importers_id),
	   LEVELS(descriptors_may_be_another_processs),
	   LEVELS(device_queue_is_registered_once_on_a_machine),
	   LEVELS(machine_is_of_one_level_and_outlives_its_rings))
