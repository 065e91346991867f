/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* With both bits of the access mode set a descriptor is neither for reading nor for writing. */
static int open_nothing(void)
{
	return open("/dev/null", O_ACCMODE | O_CLOEXEC);
}

int descriptor_give(struct kernel *kernel, int fd, int flags)
{
	int number = notify_install(kernel->listener, kernel->call, fd, flags);

	close(fd);
	return number;
}

int descriptor_close(struct kernel *kernel, int number)
{
	struct stat status;
	int nothing, result;

	if (number < 0 || !task_stat(kernel->task, number, &status))
		return -EBADF;
	nothing = open_nothing();
	if (nothing < 0)
		return -errno;
	result = notify_replace(kernel->listener, kernel->call, nothing, number, O_CLOEXEC);
	close(nothing);
	return result < 0 ? result : 0;
}
