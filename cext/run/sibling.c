/* SPDX-License-Identifier: MIT */
/*
 * fork() has no flag for this, so the system call is made here, and what the C library does
 * for a child is done for it: a child finds its own thread id in the library's memory, and has
 * its list of robust mutexes known to Linux. (Its locks are free: there is one thread.)
 */
#define _GNU_SOURCE
#include "sibling.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where the C library keeps this thread's id; NULL if it is not where Linux clears it. */
static int *thread_id(void)
{
	int *place = NULL;

	if (prctl(PR_GET_TID_ADDRESS, &place, 0, 0, 0) || !place || *place != syscall(SYS_gettid))
		return NULL;
	return place;
}

static long clone_beside(int *id)
{
	/* How its end is signalled is the maker's affair: as that of the maker itself. */
	unsigned long flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;

#if defined(__x86_64__)
	return syscall(SYS_clone, flags, NULL, NULL, id, NULL);
#elif defined(__aarch64__)
	return syscall(SYS_clone, flags, NULL, NULL, NULL, id);
#else
	(void)flags;
	(void)id;
	errno = ENOSYS;
	return -1;
#endif
}

int32_t zcrx_fork_sibling(void)
{
	int *id = thread_id();
	size_t length = 0;
	void *robust = NULL;
	long pid;

	if (!id || syscall(SYS_get_robust_list, 0, &robust, &length))
		return -ENOSYS;
	pid = clone_beside(id);
	if (pid < 0)
		return -errno;
	if (pid == 0)
		syscall(SYS_set_robust_list, robust, length);
	return (int32_t)pid;
}
