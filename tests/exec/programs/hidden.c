/* SPDX-License-Identifier: MIT */
/* A process that nobody may look into, but the superuser: it gets an error, and ends in order. */
#include "ring.h"

#include <sys/prctl.h>

int main(void)
{
	struct ring ring;
	int result;

	CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	result = ring_open(&ring, 8, 0, 0);
	CHECK(result == 0 || result == -EFAULT);
	puts(strerror(-result));
	return 3;
}
