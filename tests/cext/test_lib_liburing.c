/* SPDX-License-Identifier: MIT */
/* liburing's calls: those of a bound ring are answered by its instance, others are not ours. */
#include "lib_program.h"
#include "zcrx_emu_liburing.h"

struct io_uring {
	int ring_fd;
};

int io_uring_register_ifq(struct io_uring *ring, struct io_uring_zcrx_ifq_reg *reg);
int io_uring_register(unsigned int fd, unsigned int opcode, const void *arg, unsigned int nr_args);

static struct program program;

static void bound_ring_is_the_instances(void)
{
	struct io_uring ring = {.ring_fd = 1000}, other = {.ring_fd = 1001};
	struct io_uring_zcrx_ifq_reg reg;

	program_init(&program, NULL, 8, 16);
	program_create(&program);
	reg = program.reg;
	CHECK_EQ(zcrx_emu_bind(program.emu, &ring, ring.ring_fd), 0);
	CHECK_EQ(io_uring_register_ifq(&other, &reg), -EBADF);
	CHECK_EQ(io_uring_register(1001, 32, &reg, 1), -EBADF);
	CHECK_EQ(io_uring_register(1000, 32, &reg, 2), -EINVAL);
	CHECK_EQ(io_uring_register_ifq(&ring, &reg), 0);
	CHECK_EQ(reg.offsets.rqes, 128);
	CHECK_EQ(io_uring_register(1000, 32, &program.reg, 1), -EBUSY);
	zcrx_emu_unbind(program.emu);
	CHECK_EQ(io_uring_register_ifq(&ring, &reg), -EBADF);
	program_end(&program);
}

/* With the descriptor -1, as a program asks before it has a ring. */
static void question_without_a_ring_is_a_bound_ones(void)
{
	struct io_uring_query_zcrx zcrx;
	struct io_uring_query_hdr hdr = {
		.query_op = 1, .query_data = (uintptr_t)&zcrx, .size = sizeof(zcrx)};

	program_init(&program, "7.2", 8, 16);
	program_create(&program);
	CHECK_EQ(io_uring_register(-1U, 35, &hdr, 0), -EBADF);
	CHECK_EQ(zcrx_emu_bind(program.emu, NULL, -1), 0);
	CHECK_EQ(io_uring_register(-1U, 35, &hdr, 0), 0);
	CHECK_EQ(hdr.result, 0);
	CHECK_EQ(zcrx.nr_ctrl_opcodes, 3);
	/* Nothing else is. */
	CHECK_EQ(io_uring_register(-1U, 32, &program.reg, 1), -EBADF);
	zcrx_emu_unbind(program.emu);
	program_end(&program);
}

static void so_many_rings_can_be_bound(void)
{
	int count = 0;

	program_init(&program, NULL, 8, 16);
	program_create(&program);
	while (zcrx_emu_bind(program.emu, NULL, count) == 0)
		count++;
	CHECK_EQ(count, 64);
	zcrx_emu_unbind(program.emu);
	CHECK_EQ(zcrx_emu_bind(program.emu, NULL, 1), 0);
	zcrx_emu_unbind(program.emu);
	program_end(&program);
}

CHECK_MAIN(CASE(bound_ring_is_the_instances), CASE(question_without_a_ring_is_a_bound_ones),
	   CASE(so_many_rings_can_be_bound))
