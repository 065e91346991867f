/* SPDX-License-Identifier: MIT */
/*
 * The gateway's program: started by `zcrx-emu exec`, which has checked what a user typed.
 *
 *	zcrx-gateway CONTROL LEVEL SEED FLAGS SHAPE EXPLAIN FAULTS PROGRAM [ARGUMENT...]
 *
 * SHAPE is fourteen numbers with commas between them: those of emu/exec/shape.py, in its order.
 * CONTROL is a socket of its starter: signals for the program come from there, messages go there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway.h"

enum { CONTROL = 1, LEVEL, SEED, FLAGS, SHAPE, EXPLAIN, FAULTS, PROGRAM };

static bool read_shape(struct kernel *kernel, const char *text)
{
	struct zcrx_emu_shape *shape = &kernel->shape;

	return sscanf(text, "%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u", &shape->fragment_min,
		      &shape->fragment_max, &shape->offset_min, &shape->offset_max,
		      &shape->per_buffer, &shape->copy_percent, &shape->linear_min,
		      &shape->linear_max, &kernel->rx_descriptors, &kernel->mtu,
		      &kernel->buffers_max, &kernel->rq_entries_max, &kernel->cq_entries_max,
		      &kernel->burst) == 14;
}

int main(int argc, char **argv)
{
	struct kernel kernel = {.queue = -1, .listener = -1};

	if (argc <= PROGRAM || !read_shape(&kernel, argv[SHAPE])) {
		fprintf(stderr, "zcrx-gateway: to be started by zcrx-emu exec\n");
		return 2;
	}
	kernel.control = atoi(argv[CONTROL]);
	kernel.level = argv[LEVEL];
	kernel.seed = strtoull(argv[SEED], NULL, 10);
	kernel.emu_flags = (uint32_t)strtoul(argv[FLAGS], NULL, 10);
	kernel.explains = argv[EXPLAIN][0] == '1';
	kernel.faults = argv[FAULTS];
	/* A plan that has refill rings drained late is none with us looking at each turn. */
	kernel.is_lazy = strstr(kernel.faults, "rq-late") != NULL;
	fcntl(kernel.control, F_SETFD, FD_CLOEXEC);
	return gateway_run(&kernel, argv + PROGRAM);
}
