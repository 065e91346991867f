/* SPDX-License-Identifier: MIT */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int own_copy(void *context, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	(void)context;
	return copy < 0 ? -errno : copy;
}

static void own_remove(void *context, int fd)
{
	(void)context;
	close(fd);
}

const struct zcrx_emu_descriptors zcrx_lib_own_descriptors = {
	.install = own_copy,
	.fetch = own_copy,
	.remove = own_remove,
};
