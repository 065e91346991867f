/* SPDX-License-Identifier: MIT */
/*
 * The gateway's program: started by `zcrx-emu exec`, which has checked what a user typed.
 *
 *	zcrx-gateway CONTROL LEVEL SEED FLAGS EXPLAIN PROGRAM [ARGUMENT...]
 *
 * CONTROL is a socket of its starter: signals for the program come from there, messages go there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway.h"

enum { CONTROL = 1, LEVEL, SEED, FLAGS, EXPLAIN, PROGRAM };

int main(int argc, char **argv)
{
	struct kernel kernel = {.queue = -1, .listener = -1};

	if (argc <= PROGRAM) {
		fprintf(stderr, "zcrx-gateway: to be started by zcrx-emu exec\n");
		return 2;
	}
	kernel.control = atoi(argv[CONTROL]);
	kernel.level = argv[LEVEL];
	kernel.seed = strtoull(argv[SEED], NULL, 10);
	kernel.emu_flags = (uint32_t)strtoul(argv[FLAGS], NULL, 10);
	kernel.explains = argv[EXPLAIN][0] == '1';
	fcntl(kernel.control, F_SETFD, FD_CLOEXEC);
	return gateway_run(&kernel, argv + PROGRAM);
}
