/* SPDX-License-Identifier: MIT */
/*
 * What is not zero-copy receive, but what its programs use: each operation has the kernel's
 * results. It runs as well without `exec`, on a kernel that has io_uring.
 */
#include "results.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>

/* ---- sockets -------------------------------------------------------------------------------- */

static int listener(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET};
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(bind(fd, (struct sockaddr *)address, size) == 0 && listen(fd, 8) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)address, &size) == 0);
	return fd;
}

static void test_a_connection_from_begin_to_end(void)
{
	struct sockaddr_in address, peer = {0};
	socklen_t peer_size = sizeof(peer);
	int server = listener(&address), client, accepted;
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_SOCKET, AF_INET, 1);
	static char sent[200000], got[200000];

	sqe->off = SOCK_STREAM;
	client = do_one(sqe);
	CHECK(client >= 0 && fcntl(client, F_GETFD) == 0);

	/* The accept waits when the connection comes. */
	sqe = ring_sqe(&ring, IORING_OP_ACCEPT, server, 2);
	sqe->addr = (uint64_t)(uintptr_t)&peer;
	sqe->addr2 = (uint64_t)(uintptr_t)&peer_size;
	sqe->accept_flags = SOCK_CLOEXEC;
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_CONNECT, client, 3);
	sqe->addr = (uint64_t)(uintptr_t)&address;
	sqe->off = sizeof(address);
	CHECK(do_one(sqe) == 0);
	accepted = result_of(2).res;
	CHECK(accepted >= 0 && fcntl(accepted, F_GETFD) == FD_CLOEXEC);
	CHECK(peer.sin_family == AF_INET && peer_size == sizeof(peer));

	/* A receive that waits, and gets what is sent later; more than one piece each. */
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 7);
	sqe = ring_sqe(&ring, IORING_OP_RECV, accepted, 4);
	sqe->addr = (uint64_t)(uintptr_t)got;
	sqe->len = sizeof(got);
	sqe->msg_flags = MSG_WAITALL;
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_SEND, client, 5);
	sqe->addr = (uint64_t)(uintptr_t)sent;
	sqe->len = sizeof(sent);
	sqe->msg_flags = MSG_WAITALL;
	CHECK(do_one(sqe) == sizeof(sent));
	CHECK(result_of(4).res == sizeof(got));
	CHECK(memcmp(sent, got, sizeof(got)) == 0);

	/* A short one ends with what is there; the end of the stream is 0. */
	CHECK(send(client, "abc", 3, 0) == 3);
	sqe = ring_sqe(&ring, IORING_OP_RECV, accepted, 6);
	sqe->addr = (uint64_t)(uintptr_t)got;
	sqe->len = 100;
	CHECK(do_one(sqe) == 3 && memcmp(got, "abc", 3) == 0);
	sqe = ring_sqe(&ring, IORING_OP_SHUTDOWN, client, 7);
	sqe->len = SHUT_WR;
	CHECK(do_one(sqe) == 0);
	sqe = ring_sqe(&ring, IORING_OP_RECV, accepted, 8);
	sqe->addr = (uint64_t)(uintptr_t)got;
	sqe->len = 100;
	CHECK(do_one(sqe) == 0);

	/* What is closed is closed: the other side sees it, and this one has it no more. */
	CHECK(do_one(ring_sqe(&ring, IORING_OP_CLOSE, accepted, 9)) == 0);
	CHECK(recv(client, got, 1, 0) == 0);
	CHECK(write(accepted, "x", 1) == -1 && errno == EBADF);
	CHECK(do_one(ring_sqe(&ring, IORING_OP_CLOSE, 999, 10)) == -EBADF);
	close(client);
	close(server);
}

static void connect_and_close(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
	close(fd);
}

static void test_multishot_accept_goes_on_until_it_is_cancelled(void)
{
	struct sockaddr_in address;
	int server = listener(&address);
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_ACCEPT, server, 20);

	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	CHECK(ring_enter(&ring, 0) == 1);
	for (int i = 0; i < 3; i++) {
		struct result result;

		connect_and_close(&address);
		result = result_of(20);
		CHECK(result.res >= 0 && result.flags == IORING_CQE_F_MORE);
		close(result.res);
	}
	sqe = ring_sqe(&ring, IORING_OP_ASYNC_CANCEL, -1, 21);
	sqe->addr = 20;
	CHECK(do_one(sqe) == 0);
	CHECK(result_of(20).res == -ECANCELED);
	sqe = ring_sqe(&ring, IORING_OP_ASYNC_CANCEL, -1, 22);
	sqe->addr = 20;
	CHECK(do_one(sqe) == -ENOENT);
	close(server);
}

static void test_errors_are_the_sockets(void)
{
	struct sockaddr_in address;
	int server = listener(&address), fd = socket(AF_INET, SOCK_STREAM, 0);
	struct io_uring_sqe *sqe;
	char byte;

	close(server);
	sqe = ring_sqe(&ring, IORING_OP_CONNECT, fd, 30);
	sqe->addr = (uint64_t)(uintptr_t)&address;
	sqe->off = sizeof(address);
	CHECK(do_one(sqe) == -ECONNREFUSED);
	sqe = ring_sqe(&ring, IORING_OP_RECV, STDOUT_FILENO, 31);
	sqe->addr = (uint64_t)(uintptr_t)&byte;
	sqe->len = 1;
	CHECK(do_one(sqe) == -ENOTSOCK);
	sqe = ring_sqe(&ring, IORING_OP_RECV, 999, 32);
	CHECK(do_one(sqe) == -EBADF);
	close(fd);
}

static void test_poll_tells_what_is_ready(void)
{
	int pipe_ends[2];
	struct io_uring_sqe *sqe;

	CHECK(pipe(pipe_ends) == 0);
	sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, pipe_ends[1], 40);
	sqe->poll32_events = POLLOUT;
	CHECK(do_one(sqe) == POLLOUT);
	sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, pipe_ends[0], 41);
	sqe->poll32_events = POLLIN;
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	CHECK(result_of(41).res == POLLIN);
	sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, pipe_ends[0], 42);
	sqe->poll32_events = POLLIN;
	sqe->len = IORING_POLL_ADD_MULTI;
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(result_of(42).flags == IORING_CQE_F_MORE);
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	CHECK(result_of(42).flags == IORING_CQE_F_MORE);
	close(pipe_ends[1]);
	CHECK(result_of(42).res & POLLHUP);
	sqe = ring_sqe(&ring, IORING_OP_ASYNC_CANCEL, pipe_ends[0], 43);
	sqe->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
	CHECK(do_one(sqe) == 1);
	CHECK(result_of(42).res == -ECANCELED);
	close(pipe_ends[0]);
}

/* ---- time and order --------------------------------------------------------------------------- */

static struct __kernel_timespec milliseconds(long count)
{
	return (struct __kernel_timespec){count / 1000, count % 1000 * 1000000};
}

static struct io_uring_sqe *timeout(uint8_t opcode, uint64_t user_data,
				    struct __kernel_timespec *time, uint64_t count)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, opcode, -1, user_data);

	sqe->addr = (uint64_t)(uintptr_t)time;
	sqe->len = 1;
	sqe->off = count;
	return sqe;
}

static void test_timeouts(void)
{
	struct __kernel_timespec soon = milliseconds(20), late = milliseconds(100000);
	struct io_uring_sqe *sqe;

	CHECK(do_one(timeout(IORING_OP_TIMEOUT, 50, &soon, 0)) == -ETIME);
	/* One of its ring's completions ends it, too. */
	timeout(IORING_OP_TIMEOUT, 51, &late, 1);
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(do_one(ring_sqe(&ring, IORING_OP_NOP, -1, 52)) == 0);
	CHECK(result_of(51).res == 0);
	timeout(IORING_OP_TIMEOUT, 53, &late, 0);
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_TIMEOUT_REMOVE, -1, 54);
	sqe->addr = 53;
	CHECK(do_one(sqe) == 0);
	CHECK(result_of(53).res == -ECANCELED);
}

static void test_links(void)
{
	struct __kernel_timespec soon = milliseconds(20), late = milliseconds(100000);
	int pipe_ends[2];
	struct io_uring_sqe *sqe;

	/* The first one fails: what is linked never starts. */
	ring_sqe(&ring, IORING_OP_CLOSE, 999, 60)->flags = IOSQE_IO_LINK;
	CHECK(do_one(ring_sqe(&ring, IORING_OP_NOP, -1, 61)) == -ECANCELED);
	CHECK(result_of(60).res == -EBADF);
	/* It succeeds, and says nothing. */
	ring_sqe(&ring, IORING_OP_NOP, -1, 62)->flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	CHECK(do_one(ring_sqe(&ring, IORING_OP_NOP, -1, 63)) == 0);
	/* A time that passes ends what it guards; one that does not is cancelled. */
	CHECK(pipe(pipe_ends) == 0);
	sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, pipe_ends[0], 64);
	sqe->poll32_events = POLLIN;
	sqe->flags = IOSQE_IO_LINK;
	timeout(IORING_OP_LINK_TIMEOUT, 65, &soon, 0);
	CHECK(ring_enter(&ring, 0) == 2);
	CHECK(result_of(64).res == -ECANCELED);
	CHECK(result_of(65).res == -ETIME);
	ring_sqe(&ring, IORING_OP_NOP, -1, 66)->flags = IOSQE_IO_LINK;
	timeout(IORING_OP_LINK_TIMEOUT, 67, &late, 0);
	CHECK(ring_enter(&ring, 0) == 2);
	CHECK(result_of(66).res == 0);
	CHECK(result_of(67).res == -ECANCELED);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

static void test_wait_ends_by_time_or_signal(void)
{
	struct __kernel_timespec soon = milliseconds(20), late = milliseconds(100000);
	struct itimerval once = {.it_value.tv_usec = 30000};

	CHECK(ring_enter_for(&ring, 1, &soon) == -ETIME);
	for (int restarts = 0; restarts <= 1; restarts++) {
		struct sigaction action = {
			.sa_handler = count_signal,
			.sa_flags = restarts ? SA_RESTART : 0,
		};

		CHECK(sigaction(SIGALRM, &action, NULL) == 0);
		CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
		CHECK(ring_enter_for(&ring, 1, &late) == -EINTR);
		CHECK(signals == restarts + 1);
	}
	/* What was submitted counts more than how the wait ended. */
	timeout(IORING_OP_TIMEOUT, 70, &late, 0);
	CHECK(ring_enter_for(&ring, 1, &soon) == 1);
	ring_sqe(&ring, IORING_OP_TIMEOUT_REMOVE, -1, 71)->addr = 70;
	CHECK(ring_enter(&ring, 2) == 1);
	CHECK(result_of(70).res == -ECANCELED && result_of(71).res == 0);
}

static void *enter_as_another(void *argument)
{
	struct ring *theirs = argument;
	long result = syscall(__NR_io_uring_enter, theirs->fd, 1, 0, 0, NULL, 0);

	return (void *)(intptr_t)(result < 0 ? -errno : result);
}

static void test_single_issuer_is_one_thread(void)
{
	struct ring own;
	pthread_t thread;
	void *result;

	CHECK(ring_open(&own, 8, IORING_SETUP_SINGLE_ISSUER, 0) == 0);
	CHECK(pthread_create(&thread, NULL, enter_as_another, &own) == 0);
	CHECK(pthread_join(thread, &result) == 0);
	CHECK((intptr_t)result == -EEXIST);
	ring_close(&own);
}

static void test_overflow_waits_for_room(void)
{
	struct ring small;
	int seen = 0;

	CHECK(ring_open(&small, 4, 0, 4) == 0);
	for (uint64_t i = 0; i < 12; i++) {
		ring_sqe(&small, IORING_OP_NOP, -1, i);
		CHECK(ring_enter(&small, 0) == 1);
	}
	CHECK(*ring_word(&small, small.params.sq_off.flags) & IORING_SQ_CQ_OVERFLOW);
	while (seen < 12) {
		struct io_uring_cqe *cqe = ring_cqe(&small);

		if (cqe) {
			CHECK(cqe->user_data == (uint64_t)seen++);
			ring_seen(&small);
		} else {
			CHECK(ring_enter(&small, 1) == 0);
		}
	}
	CHECK(!(*ring_word(&small, small.params.sq_off.flags) & IORING_SQ_CQ_OVERFLOW));
	ring_close(&small);
}

static void test_what_is_wrong_is_refused(void)
{
	struct ring none;

	CHECK(ring_open(&none, 0, 0, 0) == -EINVAL);
	CHECK(ring_open(&none, 8, IORING_SETUP_DEFER_TASKRUN, 0) == -EINVAL);
	CHECK(ring_open(&none, 8, 1U << 30, 0) == -EINVAL);
	CHECK(ring_open(&none, 8, 0, 4) == -EINVAL);
	CHECK(do_one(ring_sqe(&ring, 255, -1, 80)) == -EINVAL);
}

static void test_message_goes_to_another_ring(void)
{
	struct ring other;
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;

	CHECK(ring_open(&other, 8, 0, 0) == 0);
	sqe = ring_sqe(&ring, IORING_OP_MSG_RING, other.fd, 90);
	sqe->len = 5;
	sqe->off = 99;
	CHECK(do_one(sqe) == 0);
	CHECK(ring_enter(&other, 1) == 0);
	cqe = ring_cqe(&other);
	CHECK(cqe && cqe->user_data == 99 && cqe->res == 5);
	ring_close(&other);
}

/* Work that was deferred is told of by a flag, and is done in a call. */
static void test_deferred_work_is_told_of(void)
{
	struct ring own;
	int pipe_ends[2];
	uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG;

	CHECK(ring_open(&own, 8, flags, 0) == 0 && pipe(pipe_ends) == 0);
	ring_sqe(&own, IORING_OP_POLL_ADD, pipe_ends[0], 100)->poll32_events = POLLIN;
	CHECK(ring_enter(&own, 0) == 1);
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	while (!(*ring_word(&own, own.params.sq_off.flags) & IORING_SQ_TASKRUN))
		;
	CHECK(!ring_cqe(&own));
	CHECK(ring_enter(&own, 0) == 0);
	CHECK(ring_cqe(&own) && ring_cqe(&own)->res == POLLIN);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	ring_close(&own);
}

int main(void)
{
	CHECK(ring_open(&ring, 16, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0) ==
	      0);
	test_a_connection_from_begin_to_end();
	test_multishot_accept_goes_on_until_it_is_cancelled();
	test_errors_are_the_sockets();
	test_poll_tells_what_is_ready();
	test_timeouts();
	test_links();
	test_wait_ends_by_time_or_signal();
	test_single_issuer_is_one_thread();
	test_overflow_waits_for_room();
	test_what_is_wrong_is_refused();
	test_message_goes_to_another_ring();
	test_deferred_work_is_told_of();
	CHECK(!ring_cqe(&ring));
	ring_close(&ring);
	puts("all as it should be");
	return 0;
}
