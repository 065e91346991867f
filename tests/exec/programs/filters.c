/* SPDX-License-Identifier: MIT */
/*
 * filters own: a program that has a seccomp filter of its own, and would have a listener. It
 * says whether it can.
 * filters refuse NUMBER... -- PROGRAM ARGUMENTS...: a sandbox that refuses these system calls.
 */
#include "ring.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#define REFUSED_MAX 16U

static void refuse(const uint32_t *numbers, size_t count)
{
	struct sock_filter steps[2 * REFUSED_MAX + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = {.filter = steps, .len = 1};

	CHECK(count <= REFUSED_MAX);
	for (size_t i = 0; i < count; i++) {
		steps[program.len++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], 0, 1);
		steps[program.len++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	steps[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

static void do_nothing(struct ring *ring)
{
	ring_sqe(ring, IORING_OP_NOP, -1, 1);
	CHECK(ring_enter(ring, 1) == 1);
	CHECK(ring_cqe(ring));
	ring_seen(ring);
}

static int own(void)
{
	struct sock_filter step = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {.filter = &step, .len = 1};
	const uint32_t number = __NR_getppid;
	struct ring ring;
	long listener;

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	refuse(&number, 1);
	CHECK(syscall(__NR_getppid) == -1 && errno == EPERM);
	do_nothing(&ring);
	listener = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			   &program);
	puts(listener < 0 ? strerror(errno) : "a listener");
	do_nothing(&ring);
	return 0;
}

int main(int argc, char **argv)
{
	uint32_t numbers[REFUSED_MAX];
	size_t count = 0;
	int at = 2;

	if (argc == 2 && strcmp(argv[1], "own") == 0)
		return own();
	for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
		CHECK(count < REFUSED_MAX);
		numbers[count++] = (uint32_t)atoi(argv[at]);
	}
	CHECK(at + 1 < argc);
	refuse(numbers, count);
	execvp(argv[at + 1], argv + at + 1);
	return 127;
}
