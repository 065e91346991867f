/* SPDX-License-Identifier: MIT */
/* io_uring's calls with what is no ring have the kernel's errors. */
#include "ring.h"

#include <fcntl.h>

int main(void)
{
	int null = open("/dev/null", O_RDWR);

	CHECK(syscall(__NR_io_uring_enter, 99, 0, 0, 0, NULL, 0) == -1 && errno == EBADF);
	CHECK(syscall(__NR_io_uring_enter, null, 0, 0, 0, NULL, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(syscall(__NR_io_uring_register, 99, IORING_REGISTER_PROBE, NULL, 0) == -1 &&
	      errno == EBADF);
	CHECK(syscall(__NR_io_uring_setup, 8, NULL) == -1 && errno == EFAULT);
	return 0;
}
