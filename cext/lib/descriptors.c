/* SPDX-License-Identifier: MIT */
#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DMA_BUF_MAGIC 0x444d4142

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

int64_t zcrx_lib_dmabuf_size(struct zcrx_emu *emu, int fd)
{
	const struct zcrx_emu_descriptors *descriptors = &emu->descriptors;
	int here = descriptors->fetch(descriptors->context, fd);
	struct statfs status;
	int64_t size = -EINVAL;

	if (here < 0)
		return -EBADF;
	if (fstatfs(here, &status) == 0 && status.f_type == DMA_BUF_MAGIC)
		size = lseek(here, 0, SEEK_END);
	close(here);
	return size < 0 ? -EINVAL : size;
}
