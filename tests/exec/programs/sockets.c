/* SPDX-License-Identifier: MIT */
/*
 * What is done to sockets and sets of descriptors besides moving bytes, and reads into buffers
 * of a group. It tells what came of each request, so that a kernel's own answers can be laid
 * beside: sockets.txt.
 */
#define _GNU_SOURCE
#include "results.h"

#include <fcntl.h>
#include <sys/epoll.h>

#define GROUP 4
#define SIZE 8
/* What headers of Linux 6.1 do not have. */
#define OP_READ_MULTISHOT 49
#define OP_BIND 56
#define OP_LISTEN 57
#define OP_PIPE 62

enum { COMMAND_INQ, COMMAND_OUTQ, COMMAND_GET, COMMAND_SET };

static char buffers[4][SIZE];

static void name_a_socket(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM, 0), client;
	struct io_uring_sqe *sqe;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int flaw = 0; flaw < 4; flaw++) {
		sqe = ring_sqe(&ring, OP_BIND, flaw == 1 ? STDOUT_FILENO : server, 1);
		sqe->addr = flaw == 2 ? 8 : address_of(&address);
		sqe->addr2 = flaw == 3 ? 1000 : sizeof(address);
		sqe->len = flaw == 0;
		printf("flaw %d: %d\n", flaw, do_one(sqe));
	}
	sqe = ring_sqe(&ring, OP_BIND, server, 2);
	sqe->addr = address_of(&address);
	sqe->addr2 = sizeof(address);
	say("bind", do_whole(sqe));
	sqe = ring_sqe(&ring, OP_LISTEN, server, 3);
	sqe->addr = 1;
	say("listen with an address", do_whole(sqe));
	sqe = ring_sqe(&ring, OP_LISTEN, server, 4);
	sqe->len = 4;
	say("listen", do_whole(sqe));
	CHECK(getsockname(server, (struct sockaddr *)&address, &size) == 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
	close(client);
	close(server);
}

static struct io_uring_sqe *command(int fd, uint32_t which, int level, int name, int *value)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_URING_CMD, fd, 10);

	sqe->off = which;
	sqe->addr = (uint32_t)level | (uint64_t)name << 32;
	sqe->addr3 = address_of(value);
	sqe->file_index = sizeof(*value);
	return sqe;
}

static void command_sockets(void)
{
	int ends[2], value = 0;

	connect_pair(ends);
	CHECK(send(ends[0], "hello", 5, 0) == 5);
	say("bytes in", do_whole(command(ends[1], COMMAND_INQ, 0, 0, NULL)));
	say("bytes out", do_whole(command(ends[1], COMMAND_OUTQ, 0, 0, NULL)));
	say("type", do_whole(command(ends[1], COMMAND_GET, SOL_SOCKET, SO_TYPE, &value)));
	printf("value: %d\n", value);
	say("another level", do_whole(command(ends[1], COMMAND_GET, IPPROTO_TCP, 1, &value)));
	value = 1;
	say("keep", do_whole(command(ends[1], COMMAND_SET, SOL_SOCKET, SO_KEEPALIVE, &value)));
	value = 0;
	say("kept", do_whole(command(ends[1], COMMAND_GET, SOL_SOCKET, SO_KEEPALIVE, &value)));
	printf("value: %d\n", value);
	say("no delay", do_whole(command(ends[1], COMMAND_SET, IPPROTO_TCP, 1, &value)));
	say("no option", do_whole(command(ends[1], COMMAND_SET, SOL_SOCKET, 9999, &value)));
	say("from nowhere", do_whole(command(ends[1], COMMAND_SET, SOL_SOCKET, 9, (int *)8)));
	say("unknown", do_whole(command(ends[1], 99, 0, 0, NULL)));
	close(ends[0]);
	close(ends[1]);
}

static struct io_uring_sqe *control(int set, uint32_t operation, int fd, struct epoll_event *event)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_EPOLL_CTL, set, 20);

	sqe->len = operation;
	sqe->off = (uint32_t)fd;
	sqe->addr = address_of(event);
	return sqe;
}

/* What an operation adds a system call can take away, and the other way round. */
static void change_a_set(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7}, seen;
	int set = epoll_create1(0), ends[2];

	CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
	say("add", do_whole(control(set, EPOLL_CTL_ADD, ends[0], &event)));
	say("add again", do_whole(control(set, EPOLL_CTL_ADD, ends[0], &event)));
	CHECK(epoll_wait(set, &seen, 1, 0) == 1 && seen.data.u64 == 7);
	CHECK(epoll_ctl(set, EPOLL_CTL_DEL, ends[0], NULL) == 0);
	say("remove none", do_whole(control(set, EPOLL_CTL_DEL, ends[0], NULL)));
	CHECK(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event) == 0);
	event.data.u64 = 8;
	say("change", do_whole(control(set, EPOLL_CTL_MOD, ends[0], &event)));
	CHECK(epoll_wait(set, &seen, 1, 0) == 1 && seen.data.u64 == 8);
	say("remove", do_whole(control(set, EPOLL_CTL_DEL, ends[0], NULL)));
	CHECK(epoll_wait(set, &seen, 1, 0) == 0);
	say("add nothing", do_whole(control(set, EPOLL_CTL_ADD, 999, &event)));
	say("no set", do_whole(control(ends[1], EPOLL_CTL_ADD, ends[0], &event)));
	say("from nowhere", do_whole(control(set, EPOLL_CTL_ADD, ends[0], (void *)8)));
	close(set);
	close(ends[0]);
	close(ends[1]);
}

static void make_pipes(void)
{
	struct io_uring_rsrc_register sparse = {.nr = 4, .flags = IORING_RSRC_REGISTER_SPARSE};
	int ends[2];
	struct io_uring_sqe *sqe = ring_sqe(&ring, OP_PIPE, 0, 30);

	sqe->addr = address_of(ends);
	sqe->rw_flags = O_CLOEXEC;
	say("pipe", do_whole(sqe));
	CHECK(fcntl(ends[0], F_GETFD) == FD_CLOEXEC);
	CHECK(write(ends[1], "x", 1) == 1 && read(ends[0], buffers, 1) == 1);
	close(ends[0]);
	close(ends[1]);
	sqe = ring_sqe(&ring, OP_PIPE, 0, 31);
	sqe->rw_flags = O_CREAT;
	say("flags", do_whole(sqe));
	CHECK(ring_register(IORING_REGISTER_FILES2, &sparse, sizeof(sparse)) == 0);
	sqe = ring_sqe(&ring, OP_PIPE, 0, 32);
	sqe->addr = address_of(ends);
	sqe->file_index = IORING_FILE_INDEX_ALLOC;
	say("in slots", do_whole(sqe));
	printf("slots: %d %d\n", ends[0], ends[1]);
	CHECK(ring_register(IORING_UNREGISTER_FILES, NULL, 0) == 0);
}

static struct io_uring_sqe *reading(uint8_t opcode, int fd, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, opcode, fd, user_data);

	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	return sqe;
}

static void read_into_a_group(void)
{
	struct io_uring_sqe *sqe;
	int ends[2];

	CHECK(pipe(ends) == 0);
	say("no group", do_whole(reading(IORING_OP_READ, ends[0], 40)));
	sqe = ring_sqe(&ring, IORING_OP_PROVIDE_BUFFERS, 4, 41);
	sqe->addr = address_of(buffers);
	sqe->len = SIZE;
	sqe->buf_group = GROUP;
	CHECK(do_one(sqe) == 0);
	CHECK(write(ends[1], "hello", 5) == 5);
	sqe = reading(IORING_OP_READ, ends[0], 42);
	sqe->len = SIZE;
	say("read", do_whole(sqe));
	CHECK(memcmp(buffers[0], "hello", 5) == 0);
	sqe = reading(OP_READ_MULTISHOT, ends[0], 43);
	sqe->flags = 0;
	say("many into one", do_whole(sqe));
	reading(OP_READ_MULTISHOT, ends[0], 44);
	CHECK(ring_enter(&ring, 0) == 1);
	for (int shot = 0; shot < 3; shot++) {
		CHECK(write(ends[1], "again", 5) == 5);
		say("shot", result_of(44));
	}
	CHECK(write(ends[1], "again", 5) == 5);
	say("no buffer", result_of(44));
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	CHECK(ring_open(&ring, 16, 0, 0) == 0);
	name_a_socket();
	command_sockets();
	change_a_set();
	make_pipes();
	read_into_a_group();
	ring_close(&ring);
	return 0;
}
