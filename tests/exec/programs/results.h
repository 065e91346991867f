/* SPDX-License-Identifier: MIT */
/* The one ring of a program that looks at results, and what came of each request in it. */
#ifndef TEST_RESULTS_H
#define TEST_RESULTS_H

#include "ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct ring ring;

struct result {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

static inline struct result next_result(void)
{
	struct io_uring_cqe *cqe;
	struct result result;

	while (!(cqe = ring_cqe(&ring)))
		CHECK(ring_enter(&ring, 1) >= 0);
	result = (struct result){cqe->user_data, cqe->res, cqe->flags};
	ring_seen(&ring);
	return result;
}

/* Its completions may come in any order. */
static inline struct result result_of(uint64_t user_data)
{
	static struct result kept[16];
	static int count;

	for (int i = 0; i < count; i++) {
		if (kept[i].user_data == user_data) {
			struct result found = kept[i];

			memmove(&kept[i], &kept[i + 1], (size_t)(--count - i) * sizeof(kept[0]));
			return found;
		}
	}
	for (;;) {
		struct result result = next_result();

		if (result.user_data == user_data)
			return result;
		CHECK(count < 16);
		kept[count++] = result;
	}
}

static inline int32_t do_one(struct io_uring_sqe *sqe)
{
	uint64_t user_data = sqe->user_data;

	CHECK(ring_enter(&ring, 0) >= 0);
	return result_of(user_data).res;
}

/* The same, with what else its completion says. */
static inline struct result do_whole(struct io_uring_sqe *sqe)
{
	uint64_t user_data = sqe->user_data;

	CHECK(ring_enter(&ring, 0) >= 0);
	return result_of(user_data);
}

/* io_uring_register(): its result, or -errno. */
static inline int ring_register(unsigned int opcode, const void *argument, unsigned int count)
{
	long result = syscall(__NR_io_uring_register, ring.fd, opcode, argument, count);

	return result < 0 ? -errno : (int)result;
}

/* What came of it, for whoever compares it with what the kernel says. */
static inline void say(const char *what, struct result result)
{
	printf("%s: %d %x\n", what, result.res, result.flags);
}

static inline void say_registered(const char *what, int result)
{
	printf("%s: %d\n", what, result);
}

/* A connection over loopback. */
static inline void connect_pair(int ends[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(server, (struct sockaddr *)&address, size) == 0 && listen(server, 1) == 0);
	CHECK(getsockname(server, (struct sockaddr *)&address, &size) == 0);
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(ends[0], (struct sockaddr *)&address, size) == 0);
	ends[1] = accept(server, NULL, NULL);
	CHECK(ends[1] >= 0);
	close(server);
}

static inline uint64_t address_of(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

#endif /* TEST_RESULTS_H */
