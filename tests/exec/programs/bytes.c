/* SPDX-License-Identifier: MIT */
/*
 * READ and WRITE of all kinds of files. It tells what came of each request, so that a kernel's own
 * answers can be laid beside: bytes.txt.
 */
#define _GNU_SOURCE
#include "results.h"

#include <fcntl.h>

#define SIZE 1000000

static char bytes[SIZE], other[SIZE];

static struct io_uring_sqe *on(uint8_t opcode, int fd, char *memory, uint32_t len, uint64_t off,
			       uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, opcode, fd, user_data);

	sqe->addr = address_of(memory);
	sqe->len = len;
	sqe->off = off;
	return sqe;
}

static void store(void)
{
	int fd = open("bytes.tmp", O_RDWR | O_CREAT | O_TRUNC, 0600);

	CHECK(unlink("bytes.tmp") == 0);
	say("write", do_whole(on(IORING_OP_WRITE, fd, bytes, SIZE, 0, 1)));
	say("read", do_whole(on(IORING_OP_READ, fd, other, SIZE, 0, 1)));
	CHECK(memcmp(bytes, other, SIZE) == 0);
	say("rest", do_whole(on(IORING_OP_READ, fd, other, SIZE, SIZE - 1000, 1)));
	say("here", do_whole(on(IORING_OP_WRITE, fd, bytes, 10, UINT64_MAX, 1)));
	say("here", do_whole(on(IORING_OP_READ, fd, other, 10, UINT64_MAX, 1)));
	CHECK(memcmp(bytes + 10, other, 10) == 0);
	say("nowhere", do_whole(on(IORING_OP_READ, fd, (char *)8, 10, 0, 1)));
	close(fd);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	say("directory", do_whole(on(IORING_OP_READ, fd, other, 10, 0, 1)));
	say("for reading only", do_whole(on(IORING_OP_WRITE, fd, other, 10, 0, 1)));
	close(fd);
}

/* What has to be waited for keeps nobody else waiting. */
static void wait(int reader, int writer)
{
	ssize_t got, all = 0;
	int32_t sent;

	on(IORING_OP_READ, reader, other, 100, 0, 2);
	CHECK(ring_enter(&ring, 0) == 1);
	say("meanwhile", do_whole(ring_sqe(&ring, IORING_OP_NOP, -1, 3)));
	CHECK(write(writer, "abc", 3) == 3);
	say("read", result_of(2));
	/* More than there is room for: some of it, and what is left is the program's. */
	on(IORING_OP_WRITE, writer, bytes, SIZE, 0, 4);
	CHECK(ring_enter(&ring, 0) == 1);
	say("meanwhile", do_whole(ring_sqe(&ring, IORING_OP_NOP, -1, 5)));
	CHECK(fcntl(reader, F_SETFL, O_NONBLOCK) == 0);
	sent = result_of(4).res;
	CHECK(sent > 0);
	while ((got = read(reader, other + all, SIZE - (size_t)all)) > 0)
		all += got;
	CHECK(all == sent && memcmp(bytes, other, (size_t)all) == 0);
	CHECK(fcntl(reader, F_SETFL, 0) == 0);
	close(writer);
	say("end", do_whole(on(IORING_OP_READ, reader, other, 100, 0, 6)));
	close(reader);
}

int main(void)
{
	int ends[2];

	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (char)(i * 7);
	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	store();
	CHECK(pipe(ends) == 0);
	wait(ends[0], ends[1]);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	wait(ends[0], ends[1]);
	ends[0] = open("/dev/zero", O_RDONLY);
	say("zeros", do_whole(on(IORING_OP_READ, ends[0], other, 100, 0, 7)));
	ends[0] = open("/dev/null", O_WRONLY);
	say("nothing", do_whole(on(IORING_OP_WRITE, ends[0], other, 100, 0, 7)));
	ring_close(&ring);
	return 0;
}
