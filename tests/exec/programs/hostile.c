/* SPDX-License-Identifier: MIT */
/*
 * hostile SEED ROUNDS: anything stands in the rings and in the calls' arguments, while a thread
 * goes on to change it. Only that the kernel's side lives through it is asked: at the end a new
 * ring works.
 */
#include "ring.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>

#define PAGE 4096U
#define AREA_PAGES 16U

static uint64_t state;
static struct ring ring;
static uint8_t *memory; /* area, refill ring and structs */
static _Atomic bool is_over;

static uint64_t below(uint64_t *from, uint64_t bound)
{
	*from ^= *from << 13;
	*from ^= *from >> 7;
	*from ^= *from << 17;
	return *from % bound;
}

/* Small numbers, numbers near the ends, addresses that are there and that are not. */
static uint64_t anything(uint64_t *from)
{
	switch (below(from, 6)) {
	case 0:
		return below(from, 8);
	case 1:
		return ~below(from, 8);
	case 2:
		return (uint64_t)(uintptr_t)memory + below(from, (AREA_PAGES + 4) * PAGE);
	case 3:
		return (uint64_t)(uintptr_t)memory + below(from, AREA_PAGES + 4) * PAGE;
	case 4:
		return (uint64_t)1 << below(from, 64);
	default:
		return *from;
	}
}

static void scribble(uint64_t *from)
{
	static const uint32_t words[] = {0, 64, 128, 192, 256, 260, 264, 268, 276, 320};
	uint8_t *at = ring.rings + words[below(from, 10)];
	uint64_t value = anything(from);

	switch (below(from, 3)) {
	case 0:
		memcpy(at, &value, sizeof(uint32_t));
		break;
	case 1:
		memcpy((uint8_t *)ring.sqes + below(from, 8 * 64 - 8), &value, sizeof(value));
		break;
	default:
		memcpy(memory + below(from, (AREA_PAGES + 4) * PAGE - 8), &value, sizeof(value));
	}
}

static void *keep_scribbling(void *argument)
{
	uint64_t own = *(uint64_t *)argument ^ 0x1234567;

	while (!is_over)
		scribble(&own);
	return NULL;
}

static void fill_sqe(struct io_uring_sqe *sqe, int socket)
{
	static const uint8_t opcodes[] = {0,  6,  7,  9,  10, 11, 12, 13, 14, 15, 16,
					  19, 20, 22, 23, 26, 27, 29, 31, 32, 34, 40,
					  45, 46, 47, 48, 49, 54, 56, 57, 58, 62};

	sqe->opcode = opcodes[below(&state, sizeof(opcodes))];
	sqe->fd = below(&state, 2) ? socket : ring.fd;
	sqe->flags = (uint8_t)(below(&state, 4) ? 0 : anything(&state));
	sqe->ioprio = (uint16_t)below(&state, 4);
	sqe->buf_index = (uint16_t)below(&state, 3);
	sqe->addr = anything(&state);
	sqe->off = below(&state, 2) ? 0 : anything(&state);
	sqe->len = (uint32_t)anything(&state);
	sqe->file_index = below(&state, 2) ? 0 : (uint32_t)anything(&state);
	sqe->user_data = state;
}

static void register_something(void)
{
	uint64_t *words = (uint64_t *)(void *)memory;

	for (int i = 0; i < 64; i++)
		words[i] = below(&state, 3) ? 0 : anything(&state);
	words[0] = 1;
	words[1] = below(&state, 64);
	words[2] = (uint64_t)(uintptr_t)(words + 16);
	words[3] = (uint64_t)(uintptr_t)(words + 32);
	words[16] = (uint64_t)(uintptr_t)memory + 4 * PAGE;
	words[17] = AREA_PAGES * PAGE;
	words[32] = (uint64_t)(uintptr_t)memory + PAGE;
	words[33] = PAGE;
	words[34] = 1;
	syscall(__NR_io_uring_register, ring.fd, below(&state, 40), memory, below(&state, 3));
}

static void do_something(int socket)
{
	struct __kernel_timespec soon = {0, 1000000};

	switch (below(&state, 6)) {
	case 0:
		register_something();
		break;
	case 1:
		syscall(__NR_io_uring_setup, below(&state, 100), memory);
		break;
	default:
		for (uint64_t i = below(&state, 8); i > 0; i--)
			fill_sqe(&ring.sqes[below(&state, 8)], socket);
		scribble(&state);
		ring.sq_tail += (uint32_t)below(&state, 9);
		ring_enter_for(&ring, (uint32_t)below(&state, 3), &soon);
	}
}

/* What it gave us goes again, but for what we had before. */
static void close_all(void)
{
	for (int fd = 3; fd < 256; fd++) {
		if (fd != ring.fd)
			close(fd);
	}
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
	pthread_t thread;
	int sockets[2];

	signal(SIGPIPE, SIG_IGN);
	state = (argc > 1 ? strtoull(argv[1], NULL, 10) : 0) * 2 + 1;
	memory = mmap(NULL, (AREA_PAGES + 4) * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	CHECK(ring_open(&ring, 8,
			IORING_SETUP_CQE32 | IORING_SETUP_SINGLE_ISSUER |
				IORING_SETUP_DEFER_TASKRUN,
			0) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
	CHECK(pthread_create(&thread, NULL, keep_scribbling, &state) == 0);
	for (uint64_t round = 0; round < rounds; round++) {
		do_something(sockets[round & 1]);
		if (round % 64 == 0) {
			close_all();
			CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
		}
	}
	is_over = true;
	CHECK(pthread_join(thread, NULL) == 0);
	ring_close(&ring);
	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	ring_sqe(&ring, IORING_OP_NOP, -1, 5);
	CHECK(ring_enter(&ring, 1) == 1);
	CHECK(ring_cqe(&ring) && ring_cqe(&ring)->user_data == 5);
	return 0;
}
