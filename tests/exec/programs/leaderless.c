/* SPDX-License-Identifier: MIT */
/*
 * The first thread ends, and others go on: the process is still one. It runs as well without
 * `exec`, on a kernel that has io_uring.
 */
#include "ring.h"

#include <pthread.h>
#include <stdbool.h>

static bool is_ended(pid_t tid)
{
	char path[32], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	file = fopen(path, "r");
	CHECK(file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
	fclose(file);
	return state == 'Z';
}

static void *go_on(void *argument)
{
	struct ring ring;

	(void)argument;
	while (!is_ended(getpid()))
		;
	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	for (int i = 0; i < 20; i++) {
		ring_sqe(&ring, IORING_OP_NOP, -1, 1);
		CHECK(ring_enter(&ring, 1) == 1);
		CHECK(ring_cqe(&ring));
		ring_seen(&ring);
	}
	puts("went on");
	exit(0);
}

int main(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, go_on, NULL) == 0);
	pthread_exit(NULL);
}
