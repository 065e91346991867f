/* SPDX-License-Identifier: MIT */
/*
 * limits own: what a program without a free descriptor gets. It runs as well without `exec`, on
 * a kernel that has io_uring.
 * limits all: requests and rings until there is an error, which costs nobody what is there. With
 * a limit of some 60 descriptors, it is the gateway's.
 */
#include "zcrx.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>

/* Until no number is free: the first of those that were taken for it. */
static int take_all_numbers(void)
{
	int first = open("/dev/null", O_RDONLY);

	CHECK(first >= 0);
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	CHECK(errno == EMFILE);
	return first;
}

static int32_t result_of(struct ring *ring, uint64_t user_data)
{
	struct io_uring_cqe *cqe;
	int32_t res;

	CHECK(ring_enter(ring, 1) >= 0);
	cqe = ring_cqe(ring);
	CHECK(cqe && cqe->user_data == user_data);
	res = cqe->res;
	ring_seen(ring);
	return res;
}

static struct io_uring_sqe *prepare_socket(struct ring *ring)
{
	struct io_uring_sqe *sqe = ring_sqe(ring, IORING_OP_SOCKET, AF_INET, 2);

	sqe->off = SOCK_STREAM;
	return sqe;
}

static void own(void)
{
	const struct rlimit few = {32, 32};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	struct ring ring, none;
	char byte;
	int first;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 8) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	first = take_all_numbers();
	CHECK(ring_open(&none, 8, 0, 0) == -EMFILE);
	prepare_socket(&ring);
	CHECK(result_of(&ring, 2) == -EMFILE);
	CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
	ring_sqe(&ring, IORING_OP_ACCEPT, listener, 1);
	CHECK(result_of(&ring, 1) == -EMFILE);
	/* The connection is still there for whoever has room for it. */
	close(first);
	ring_sqe(&ring, IORING_OP_ACCEPT, listener, 1);
	CHECK(result_of(&ring, 1) == first);
	CHECK(send(first, "x", 1, 0) == 1 && recv(client, &byte, 1, 0) == 1);
	close(first);
	prepare_socket(&ring);
	CHECK(result_of(&ring, 2) == first);
	close(first);
	CHECK(ring_open(&none, 8, 0, 0) == 0);
	ring_close(&none);
}

/* Requests that are never ready. How many of them were refused. */
static int poll_often(struct ring *ring, int fd)
{
	int refused = 0;

	CHECK(ring_open(ring, 128, 0, 0) == 0);
	for (int i = 0; i < 100; i++)
		ring_sqe(ring, IORING_OP_POLL_ADD, fd, 1)->poll32_events = POLLPRI;
	CHECK(ring_enter(ring, 0) == 100);
	for (struct io_uring_cqe *cqe; (cqe = ring_cqe(ring)); refused++) {
		CHECK(cqe->res == -EMFILE || cqe->res == -ENFILE);
		ring_seen(ring);
	}
	return refused;
}

/* A thread that was not heard of before costs the gateway a descriptor, too. */
static void *open_as_another(void *argument)
{
	struct ring ring;
	int error = ring_open(&ring, 8, 0, 0);

	(void)argument;
	CHECK(error == -EMFILE || error == -ENFILE);
	return NULL;
}

static void all(void)
{
	static struct ring rings[1024];
	struct ring polls;
	pthread_t thread;
	struct zc zc;
	int ends[2], count = 0, refused, error;

	zc_open(&zc, 0);
	zc_connect(ends);
	zc_arm(&zc, ends[0]);
	zc_receive(&zc, ends[1], "before");
	refused = poll_often(&polls, ends[0]);
	zc_receive(&zc, ends[1], "meanwhile");
	ring_close(&polls);
	while ((error = ring_open(&rings[count], 8, 0, 0)) == 0)
		CHECK(++count < 1024);
	CHECK(error == -EMFILE || error == -ENFILE);
	CHECK(pthread_create(&thread, NULL, open_as_another, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	zc_receive(&zc, ends[1], "still");
	for (int i = 0; i < count; i++) {
		ring_sqe(&rings[i], IORING_OP_NOP, -1, 1);
		CHECK(result_of(&rings[i], 1) == 0);
		ring_close(&rings[i]);
	}
	CHECK(ring_open(&rings[0], 8, 0, 0) == 0);
	zc_receive(&zc, ends[1], "after");
	printf("%d requests refused, %d rings\n", refused, count);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "own") == 0)
		own();
	else if (argc == 2 && strcmp(argv[1], "all") == 0)
		all();
	else
		return 2;
	return 0;
}
