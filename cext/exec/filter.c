/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "filter.h"
#include "numbers.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the numbers of io_uring's calls are known for x86-64 and arm64"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(action) BPF_STMT(BPF_RET | BPF_K, action)
/* Go on behind the next `skipped` instructions, or with them. */
#define SKIP_IF(comparison, value, skipped) \
	BPF_JUMP(BPF_JMP | BPF_##comparison | BPF_K, value, skipped, 0)
#define SKIP_UNLESS(comparison, value, skipped) \
	BPF_JUMP(BPF_JMP | BPF_##comparison | BPF_K, value, 0, skipped)

/*
 * Of another architecture's calls (a 32-bit program has the same numbers for io_uring) we
 * would misread the arguments: they go to the kernel. The end of a process is heard of so that
 * its refill rings can be looked at while they are there.
 */
static const struct sock_filter instructions[] = {
	LOAD(arch),
	SKIP_UNLESS(JEQ, ARCHITECTURE, 5),
	LOAD(nr),
	SKIP_IF(JEQ, __NR_exit_group, 2),
	SKIP_UNLESS(JGE, __NR_io_uring_setup, 2),
	SKIP_IF(JGT, __NR_io_uring_register, 1),
	ANSWER(SECCOMP_RET_USER_NOTIF),
	ANSWER(SECCOMP_RET_ALLOW),
};

_Static_assert(__NR_io_uring_register == __NR_io_uring_setup + 2 &&
		       __NR_io_uring_enter == __NR_io_uring_setup + 1,
	       "the three are neighbours");

int filter_install(void)
{
	const struct sock_fprog program = {
		.len = sizeof(instructions) / sizeof(instructions[0]),
		.filter = (struct sock_filter *)instructions,
	};
	/* A signal does not take a call away from us once we have seen it: see wait.c. */
	const unsigned int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER |
				   SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	long listener;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	listener = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	return listener < 0 ? -errno : (int)listener;
}
