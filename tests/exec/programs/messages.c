/* SPDX-License-Identifier: MIT */
/*
 * Messages with names and control data. It tells what came of each request, so that a kernel's
 * own answers can be laid beside: messages.txt.
 */
#define _GNU_SOURCE
#include "results.h"

#include <fcntl.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <sys/uio.h>

#define GROUP 3
#define BUFFER_SIZE 512

static char one[100], two[100];
static struct sockaddr_in name;
static union {
	struct cmsghdr header;
	char bytes[64];
} control;
static struct iovec vector[2];
static struct msghdr message;
static char buffers[4][BUFFER_SIZE];

/* All of it, for the next request. */
static void compose(size_t first, size_t second, bool has_name, size_t control_size)
{
	vector[0] = (struct iovec){one, first};
	vector[1] = (struct iovec){two, second};
	message = (struct msghdr){
		.msg_name = has_name ? &name : NULL,
		.msg_namelen = has_name ? sizeof(name) : 0,
		.msg_iov = vector,
		.msg_iovlen = second ? 2 : 1,
		.msg_control = control_size ? &control : NULL,
		.msg_controllen = control_size,
	};
}

static struct io_uring_sqe *request(uint8_t opcode, int fd, uint32_t flags)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, opcode, fd, opcode);

	sqe->addr = address_of(&message);
	sqe->len = 1;
	sqe->msg_flags = flags;
	return sqe;
}

static void say_message(const char *what, struct result result)
{
	say(what, result);
	printf("  name %u control %zu flags %x\n", message.msg_namelen, message.msg_controllen,
	       (unsigned int)message.msg_flags);
}

static int datagram_socket(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET};
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(fd, (struct sockaddr *)address, size) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)address, &size) == 0);
	return fd;
}

static void send_datagrams(void)
{
	struct sockaddr_in here, there;
	int sender = datagram_socket(&here), receiver = datagram_socket(&there);
	struct io_uring_sqe *sqe;

	memcpy(one, "abcdef", 6);
	memcpy(two, "ghij", 4);
	name = there;
	compose(6, 4, true, 0);
	say("send", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	memset(&name, 0, sizeof(name));
	compose(4, 100, true, 0);
	say_message("receive", do_whole(request(IORING_OP_RECVMSG, receiver, 0)));
	CHECK(memcmp(one, "abcd", 4) == 0 && memcmp(two, "efghij", 6) == 0);
	CHECK(name.sin_port == here.sin_port);
	/* What has no room is gone, which is told. */
	name = there;
	compose(6, 4, true, 0);
	say("send", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	compose(4, 0, false, 0);
	say_message("cut", do_whole(request(IORING_OP_RECVMSG, receiver, 0)));
	say("nothing", do_whole(request(IORING_OP_RECVMSG, receiver, MSG_DONTWAIT)));
	compose(4, 0, true, 0);
	message.msg_namelen = (socklen_t)-1;
	say("name size", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	message.msg_namelen = 3;
	say("short name", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	compose(4, 0, true, 0);
	message.msg_iov = (void *)8;
	say("no buffers", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	message.msg_iovlen = 1025;
	say("too many buffers", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	sqe = request(IORING_OP_SENDMSG, sender, 0);
	sqe->addr = 8;
	say("no message", do_whole(sqe));
	sqe = request(IORING_OP_SENDMSG, sender, 0);
	sqe->off = 8;
	say("second address", do_whole(sqe));
	sqe = request(IORING_OP_SENDMSG, sender, 0);
	sqe->ioprio = 1U << 9;
	say("unknown flag", do_whole(sqe));
	name = there;
	compose(6, 0, true, 0);
	say("no copy", do_whole(request(IORING_OP_SENDMSG_ZC, sender, 0)));
	say("its notification", result_of(IORING_OP_SENDMSG_ZC));
	compose(6, 0, false, 0);
	say("not connected", do_whole(request(IORING_OP_SENDMSG, sender, 0)));
	compose(6, 0, false, 0);
	say_message("receive", do_whole(request(IORING_OP_RECVMSG, receiver, 0)));
	/* By SEND it goes to an address, too. */
	sqe = ring_sqe(&ring, IORING_OP_SEND, sender, IORING_OP_SEND);
	sqe->addr = address_of(one);
	sqe->len = 3;
	sqe->addr2 = address_of(&there);
	sqe->addr_len = sizeof(there);
	say("send to", do_whole(sqe));
	compose(6, 0, false, 0);
	say_message("receive", do_whole(request(IORING_OP_RECVMSG, receiver, 0)));
	close(sender);
	close(receiver);
}

static void pass_descriptors(void)
{
	int ends[2], pipe_ends[2], got;
	struct cmsghdr *header = &control.header;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && pipe(pipe_ends) == 0);
	*header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(header), &pipe_ends[1], sizeof(int));
	compose(3, 0, false, CMSG_SPACE(sizeof(int)));
	say("pass", do_whole(request(IORING_OP_SENDMSG, ends[0], 0)));
	memset(&control, 0, sizeof(control));
	compose(10, 0, false, sizeof(control));
	say_message("receive", do_whole(request(IORING_OP_RECVMSG, ends[1], MSG_CMSG_CLOEXEC)));
	printf("control: %zu %d %d\n", (size_t)header->cmsg_len, header->cmsg_level,
	       header->cmsg_type);
	memcpy(&got, CMSG_DATA(header), sizeof(got));
	CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC);
	CHECK(write(got, "x", 1) == 1 && read(pipe_ends[0], one, 1) == 1);
	close(got);
	*header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	got = 999;
	memcpy(CMSG_DATA(header), &got, sizeof(int));
	compose(3, 0, false, CMSG_SPACE(sizeof(int)));
	say("pass none", do_whole(request(IORING_OP_SENDMSG, ends[0], 0)));
	header->cmsg_len = 500;
	compose(3, 0, false, CMSG_SPACE(sizeof(int)));
	say("too long", do_whole(request(IORING_OP_SENDMSG, ends[0], 0)));
	/* All that is asked for, in two parts. */
	compose(4, 4, false, 0);
	request(IORING_OP_RECVMSG, ends[1], MSG_WAITALL);
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(write(ends[0], "abcdef", 6) == 6);
	say("meanwhile", do_whole(ring_sqe(&ring, IORING_OP_NOP, -1, 1)));
	CHECK(write(ends[0], "ghij", 4) == 4);
	say("all", result_of(IORING_OP_RECVMSG));
	CHECK(memcmp(two, "efgh", 4) == 0);
	close(ends[0]);
	compose(4, 0, false, 0);
	say_message("rest", do_whole(request(IORING_OP_RECVMSG, ends[1], 0)));
	say_message("end", do_whole(request(IORING_OP_RECVMSG, ends[1], 0)));
	close(ends[1]);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static struct io_uring_sqe *selecting(int fd, uint16_t ioprio)
{
	struct io_uring_sqe *sqe = request(IORING_OP_RECVMSG, fd, 0);

	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	sqe->ioprio = ioprio;
	return sqe;
}

static void receive_into_a_group(void)
{
	struct sockaddr_in here, there;
	int sender = datagram_socket(&here), receiver = datagram_socket(&there);
	struct io_uring_recvmsg_out out;
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_PROVIDE_BUFFERS, 4, 1);

	sqe->addr = address_of(buffers);
	sqe->len = BUFFER_SIZE;
	sqe->buf_group = GROUP;
	CHECK(do_one(sqe) == 0);
	CHECK(connect(sender, (struct sockaddr *)&there, sizeof(there)) == 0);
	CHECK(send(sender, "hello", 5, 0) == 5);
	compose(100, 0, true, 0);
	say_message("single", do_whole(selecting(receiver, 0)));
	CHECK(memcmp(buffers[0], "hello", 5) == 0);
	compose(4, 4, true, 0);
	say("two buffers", do_whole(selecting(receiver, 0)));
	compose(0, 0, true, 0);
	message.msg_iovlen = 0;
	selecting(receiver, IORING_RECV_MULTISHOT);
	CHECK(ring_enter(&ring, 0) == 1);
	for (int shot = 0; shot < 3; shot++) {
		CHECK(send(sender, "again", 5, 0) == 5);
		say("shot", result_of(IORING_OP_RECVMSG));
	}
	memcpy(&out, buffers[1], sizeof(out));
	printf("name %u control %u bytes %u flags %x\n", out.namelen, out.controllen,
	       out.payloadlen, out.flags);
	CHECK(memcmp(buffers[1] + sizeof(out) + sizeof(name), "again", 5) == 0);
	CHECK(send(sender, "again", 5, 0) == 5);
	say("no buffer", result_of(IORING_OP_RECVMSG));
	sqe = request(IORING_OP_RECVMSG, receiver, 0);
	sqe->ioprio = IORING_RECV_MULTISHOT;
	say("many into one", do_whole(sqe));
	close(sender);
	close(receiver);
}

int main(void)
{
	CHECK(ring_open(&ring, 16, 0, 0) == 0);
	send_datagrams();
	pass_descriptors();
	receive_into_a_group();
	ring_close(&ring);
	return 0;
}
