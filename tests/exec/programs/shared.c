/* SPDX-License-Identifier: MIT */
/*
 * Rings in more hands than one: inherited, handed over, under other numbers, and left open by a
 * process that becomes another program. It runs as well without `exec`, on a kernel that has
 * io_uring.
 */
#include "ring.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* How the child ended: with 0, unless a check of its own failed. */
static int status_of(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

static void do_nothing(struct ring *ring, uint64_t user_data)
{
	struct io_uring_cqe *cqe;

	ring_sqe(ring, IORING_OP_NOP, -1, user_data);
	CHECK(ring_enter(ring, 1) == 1);
	cqe = ring_cqe(ring);
	CHECK(cqe && cqe->user_data == user_data && cqe->res == 0);
	ring_seen(ring);
}

/* What another process did with it is known by the shared words alone. */
static void catch_up(struct ring *ring)
{
	ring->sq_tail = *ring_word(ring, ring->params.sq_off.tail);
	ring->submitted = ring->sq_tail;
	ring->cq_head = *ring_word(ring, ring->params.cq_off.head);
}

/* A buffer or a descriptor that a submission names is the submitter's. */
static void test_child_submits_for_itself(void)
{
	static char bytes[8];
	int ends[2];
	struct ring ring;
	pid_t child;

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	child = fork();
	if (child == 0) {
		struct io_uring_sqe *sqe;
		int own[2];

		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, own) == 0);
		CHECK(dup2(own[0], ends[0]) == ends[0]);
		CHECK(write(own[1], "child", 6) == 6);
		sqe = ring_sqe(&ring, IORING_OP_RECV, ends[0], 1);
		sqe->addr = (uint64_t)(uintptr_t)bytes;
		sqe->len = sizeof(bytes);
		CHECK(ring_enter(&ring, 1) == 1);
		CHECK(ring_cqe(&ring) && ring_cqe(&ring)->res == 6);
		ring_seen(&ring);
		CHECK(strcmp(bytes, "child") == 0);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	CHECK(bytes[0] == 0);
	catch_up(&ring);
	do_nothing(&ring, 2);
	ring_close(&ring);
	close(ends[0]);
	close(ends[1]);
}

static void test_single_issuer_is_not_the_child(void)
{
	struct ring ring;
	pid_t child;

	CHECK(ring_open(&ring, 8, IORING_SETUP_SINGLE_ISSUER, 0) == 0);
	child = fork();
	if (child == 0) {
		ring_sqe(&ring, IORING_OP_NOP, -1, 1);
		CHECK(ring_enter(&ring, 0) == -EEXIST);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	catch_up(&ring);
	ring_close(&ring);
}

/* A child that outlives its parent goes on with the ring: it is closed with the last of them. */
static void test_ring_outlives_who_made_it(void)
{
	int done[2];
	char byte;
	pid_t child;

	CHECK(pipe(done) == 0);
	child = fork();
	if (child == 0) {
		struct ring ring;

		CHECK(ring_open(&ring, 8, 0, 0) == 0);
		if (fork() > 0)
			_exit(0);
		while (getppid() == child)
			;
		for (int i = 0; i < 20; i++)
			do_nothing(&ring, 1);
		CHECK(write(done[1], "", 1) == 1);
		_exit(0);
	}
	CHECK(status_of(child) == 0);
	close(done[1]);
	CHECK(read(done[0], &byte, 1) == 1);
	close(done[0]);
}

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/* Kernels from 6.7 on refuse it. */
static bool hand_over(int to, int fd, struct io_uring_params *params)
{
	union control control = {0};
	struct iovec bytes = {params, sizeof(*params)};
	struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(to, &message, 0) == sizeof(*params))
		return true;
	CHECK(errno == EINVAL);
	return false;
}

/* -1: there is none. */
static int take_over(int from, struct io_uring_params *params)
{
	union control control;
	struct iovec bytes = {params, sizeof(*params)};
	struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(from, &message, 0) != sizeof(*params))
		return -1;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

static void test_ring_is_handed_over(void)
{
	int ends[2];
	pid_t child;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	child = fork();
	if (child == 0) {
		struct io_uring_params params;
		struct ring ring;
		int fd;

		close(ends[0]);
		fd = take_over(ends[1], &params);
		if (fd < 0)
			_exit(0);
		ring_map(&ring, fd, &params);
		for (int i = 0; i < 20; i++)
			do_nothing(&ring, 1);
		_exit(0);
	}
	{
		struct ring ring;

		CHECK(ring_open(&ring, 8, 0, 0) == 0);
		puts(hand_over(ends[0], ring.fd, &ring.params) ? "handed over" : "refused");
		fflush(stdout);
		ring_close(&ring);
	}
	close(ends[0]);
	close(ends[1]);
	CHECK(status_of(child) == 0);
}

static void test_any_number_of_it_will_do(void)
{
	struct ring ring;
	int first;

	CHECK(ring_open(&ring, 8, 0, 0) == 0);
	first = ring.fd;
	ring.fd = fcntl(first, F_DUPFD_CLOEXEC, 200);
	CHECK(ring.fd >= 200);
	close(first);
	do_nothing(&ring, 1);
	/* Its old number may be another ring's. */
	{
		struct ring other;

		CHECK(ring_open(&other, 8, 0, 0) == 0 && other.fd == first);
		do_nothing(&other, 1);
		ring_close(&other);
	}
	do_nothing(&ring, 2);
	ring_close(&ring);
	CHECK(syscall(__NR_io_uring_enter, 200, 0, 0, 0, NULL, 0) == -1 && errno == EBADF);
}

static int attach(struct ring *ring, int fd)
{
	struct io_uring_params params = {.flags = IORING_SETUP_ATTACH_WQ, .wq_fd = (uint32_t)fd};
	int made = (int)syscall(__NR_io_uring_setup, 8, &params);

	if (made < 0)
		return -errno;
	ring_map(ring, made, &params);
	return 0;
}

static void test_workers_are_shared_by_rings_alone(void)
{
	struct ring first, second;
	int null = open("/dev/null", O_RDONLY);

	CHECK(ring_open(&first, 8, 0, 0) == 0);
	CHECK(attach(&second, first.fd) == 0);
	do_nothing(&second, 1);
	ring_close(&second);
	CHECK(attach(&second, null) == -EINVAL);
	CHECK(attach(&second, 200) == -ENXIO);
	ring_close(&first);
	close(null);
}

/*
 * The new program has neither the ring nor the number by which its thread had registered it;
 * unless the descriptor is one that stays.
 */
static void become_another(const char *self)
{
	struct io_uring_rsrc_update update = {.offset = 0};
	struct ring gone, kept;
	char number[16];

	CHECK(ring_open(&gone, 8, 0, 0) == 0 && ring_open(&kept, 8, 0, 0) == 0);
	update.data = (uint64_t)gone.fd;
	CHECK(syscall(__NR_io_uring_register, gone.fd, IORING_REGISTER_RING_FDS, &update, 1) == 1);
	CHECK(syscall(__NR_io_uring_enter, 0, 0, 0, IORING_ENTER_REGISTERED_RING, NULL, 0) == 0);
	CHECK(fcntl(gone.fd, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(kept.fd, F_SETFD, 0) == 0);
	snprintf(number, sizeof(number), "%d", kept.fd);
	execl(self, self, number, (char *)NULL);
	CHECK(!"it was not started");
}

static int go_on(const char *number)
{
	int kept = atoi(number);

	CHECK(syscall(__NR_io_uring_enter, 0, 0, 0, IORING_ENTER_REGISTERED_RING, NULL, 0) == -1);
	CHECK(errno == EINVAL || errno == EBADF);
	CHECK(syscall(__NR_io_uring_enter, kept, 0, 0, 0, NULL, 0) == 0);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return go_on(argv[1]);
	test_child_submits_for_itself();
	test_single_issuer_is_not_the_child();
	test_ring_outlives_who_made_it();
	test_ring_is_handed_over();
	test_any_number_of_it_will_do();
	test_workers_are_shared_by_rings_alone();
	become_another(argv[0]);
	return 1;
}
