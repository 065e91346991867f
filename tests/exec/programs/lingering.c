/* SPDX-License-Identifier: MIT */
/*
 * The last close of a socket may take seconds, when somebody asked for that and the other side
 * does not read. Who waits for a ring of his own does not wait for it.
 */
#include "zcrx.h"

#include <fcntl.h>
#include <pthread.h>
#include <time.h>

static _Atomic bool is_over;

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void do_nothing(struct ring *ring)
{
	ring_sqe(ring, IORING_OP_NOP, -1, 1);
	CHECK(ring_enter(ring, 1) == 1);
	CHECK(ring_cqe(ring));
	ring_seen(ring);
}

/* The longest that a call took. */
static void *work_meanwhile(void *argument)
{
	_Atomic bool *is_ready = argument;
	struct ring ring;
	long longest = 0;

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	do_nothing(&ring);
	*is_ready = true;
	while (!is_over) {
		long begin = now_ms();

		do_nothing(&ring);
		if (now_ms() - begin > longest)
			longest = now_ms() - begin;
	}
	ring_close(&ring);
	return (void *)(intptr_t)longest;
}

static void fill(int fd)
{
	static const char bytes[65536];

	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	while (send(fd, bytes, sizeof(bytes), 0) > 0)
		;
	CHECK(errno == EAGAIN);
	CHECK(fcntl(fd, F_SETFL, 0) == 0);
}

static void prepare_receive(struct ring *ring, int fd)
{
	static char bytes[8];
	struct io_uring_sqe *sqe = ring_sqe(ring, IORING_OP_RECV, fd, 1);

	sqe->addr = (uint64_t)(uintptr_t)bytes;
	sqe->len = sizeof(bytes);
}

int main(void)
{
	const struct linger long_one = {.l_onoff = 1, .l_linger = 4};
	_Atomic bool is_ready = false;
	struct ring ring;
	pthread_t thread;
	void *longest;
	int ends[2];

	zc_connect(ends);
	fill(ends[0]);
	CHECK(setsockopt(ends[0], SOL_SOCKET, SO_LINGER, &long_one, sizeof(long_one)) == 0);
	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	prepare_receive(&ring, ends[0]);
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(pthread_create(&thread, NULL, work_meanwhile, &is_ready) == 0);
	while (!is_ready)
		;
	/* The request has it still, and has it no more when it is cancelled. */
	close(ends[0]);
	ring_sqe(&ring, IORING_OP_ASYNC_CANCEL, -1, 2)->addr = 1;
	CHECK(ring_enter(&ring, 2) == 1);
	ring_seen(&ring);
	ring_seen(&ring);
	for (int i = 0; i < 50; i++)
		do_nothing(&ring);
	is_over = true;
	CHECK(pthread_join(thread, &longest) == 0);
	printf("%ld ms at most\n", (long)(intptr_t)longest);
	return (intptr_t)longest < 2000 ? 0 : 1;
}
