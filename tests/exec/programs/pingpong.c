/* SPDX-License-Identifier: MIT */
/*
 * COUNT times 64 bytes over loopback to a server and back, each time others; prints what one
 * round trip takes. The server has them by `recv` (the call), `uring` (IORING_OP_RECV) or `zc`
 * (zero-copy receive), and sends them back by send().
 */
#include "zcrx.h"

#include <netinet/tcp.h>
#include <sys/wait.h>
#include <time.h>

#define SIZE 64

/* The next bytes, SIZE at most: how many. */
struct server {
	ssize_t (*take)(struct server *server, uint8_t *bytes, size_t size);
	int fd;
	struct zc zc;
};

static ssize_t take_by_call(struct server *server, uint8_t *bytes, size_t size)
{
	return recv(server->fd, bytes, size, 0);
}

static ssize_t take_by_ring(struct server *server, uint8_t *bytes, size_t size)
{
	struct ring *ring = &server->zc.ring;
	struct io_uring_sqe *sqe = ring_sqe(ring, IORING_OP_RECV, server->fd, 1);
	int res;

	sqe->addr = (uint64_t)(uintptr_t)bytes;
	sqe->len = (uint32_t)size;
	CHECK(ring_enter(ring, 1) == 1);
	res = ring_cqe(ring)->res;
	ring_seen(ring);
	return res;
}

/* It stays armed; a fragment is never more than what was sent at once. */
static ssize_t take_by_zc(struct server *server, uint8_t *bytes, size_t size)
{
	uint8_t fragment[PAGE];
	bool is_over;
	int res;

	CHECK(ring_enter(&server->zc.ring, 1) >= 0);
	res = zc_take(&server->zc, fragment, &is_over);
	CHECK(!is_over && (size_t)res <= size);
	memcpy(bytes, fragment, (size_t)res);
	return res;
}

static void set_up(struct server *server, const char *word)
{
	server->take = take_by_call;
	if (strcmp(word, "uring") == 0) {
		server->take = take_by_ring;
		CHECK(ring_open(&server->zc.ring, 8, 0, 0) == 0);
	} else if (strcmp(word, "zc") == 0) {
		server->take = take_by_zc;
		zc_open(&server->zc, 0);
		zc_arm(&server->zc, server->fd);
	} else {
		CHECK(strcmp(word, "recv") == 0);
	}
}

static void serve(struct server *server, uint64_t count)
{
	uint8_t bytes[SIZE];

	for (uint64_t trip = 0; trip < count; trip++) {
		for (size_t at = 0; at < SIZE;) {
			ssize_t size = server->take(server, bytes + at, SIZE - at);

			CHECK(size > 0);
			at += (size_t)size;
		}
		CHECK(send(server->fd, bytes, SIZE, MSG_NOSIGNAL) == SIZE);
	}
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void make_trip(int fd, uint64_t trip)
{
	uint64_t sent[SIZE / sizeof(uint64_t)], back[SIZE / sizeof(uint64_t)];

	for (size_t i = 0; i < SIZE / sizeof(uint64_t); i++)
		sent[i] = (trip + i) * 0x9e3779b97f4a7c15U;
	CHECK(send(fd, sent, SIZE, MSG_NOSIGNAL) == SIZE);
	CHECK(recv(fd, back, SIZE, MSG_WAITALL) == SIZE);
	CHECK(memcmp(sent, back, SIZE) == 0);
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
	struct server server = {0};
	int ends[2], one = 1;
	pid_t client;
	double begin;

	zc_connect(ends);
	for (int end = 0; end < 2; end++)
		CHECK(setsockopt(ends[end], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
	server.fd = ends[0];
	set_up(&server, argc > 2 ? argv[2] : "zc");
	client = fork();
	CHECK(client >= 0);
	if (client == 0) {
		begin = now();
		for (uint64_t trip = 0; trip < count; trip++)
			make_trip(ends[1], trip);
		printf("%.2f us a round trip\n", (now() - begin) * 1e6 / (double)count);
		fflush(stdout);
		_exit(0);
	}
	serve(&server, count);
	CHECK(waitpid(client, NULL, 0) == client);
	return 0;
}
