/* SPDX-License-Identifier: MIT */
/*
 * How requests wait for each other, how calls wait for them, and what a ring is told of itself.
 * It tells what came of each, so that a kernel's own answers can be laid beside: settings.txt.
 */
#include "results.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <time.h>

/* What headers of Linux 6.1 do not have. */
#define REGISTER_NAPI 27
#define UNREGISTER_NAPI 28
#define REGISTER_CLOCK 29
#define TIMEOUT_MULTISHOT (1U << 6)

struct napi {
	uint32_t busy_poll_to;
	uint8_t prefer_busy_poll, opcode, pad[2];
	uint32_t op_param, resv;
};

static struct __kernel_timespec soon = {0, 20000000}, late = {100, 0};

static struct io_uring_sqe *timer(struct __kernel_timespec *time, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_TIMEOUT, -1, user_data);

	sqe->addr = address_of(time);
	sqe->len = 1;
	return sqe;
}

static struct io_uring_sqe *poll_for(int fd, uint32_t events, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_POLL_ADD, fd, user_data);

	sqe->poll32_events = events;
	return sqe;
}

/* ---- requests ----------------------------------------------------------------------------------- */

static void drain(void)
{
	int pipe_ends[2];

	CHECK(pipe(pipe_ends) == 0);
	poll_for(pipe_ends[0], POLLIN, 1);
	ring_sqe(&ring, IORING_OP_NOP, -1, 2)->flags = IOSQE_IO_DRAIN;
	ring_sqe(&ring, IORING_OP_NOP, -1, 3);
	CHECK(ring_enter(&ring, 0) == 3);
	printf("before: %s\n", ring_cqe(&ring) ? "something" : "nothing");
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	for (int i = 0; i < 3; i++) {
		struct result result = next_result();

		printf("in order: %d %d\n", (int)result.user_data, result.res);
	}
	/* A chain is one: what comes behind it waits for all of it. */
	timer(&soon, 4)->flags = IOSQE_IO_LINK;
	ring_sqe(&ring, IORING_OP_NOP, -1, 5);
	ring_sqe(&ring, IORING_OP_NOP, -1, 6)->flags = IOSQE_IO_DRAIN;
	CHECK(ring_enter(&ring, 0) == 3);
	for (int i = 0; i < 3; i++) {
		struct result result = next_result();

		printf("in order: %d %d\n", (int)result.user_data, result.res);
	}
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void change_polls(void)
{
	struct io_uring_sqe *sqe;
	int pipe_ends[2];

	CHECK(pipe(pipe_ends) == 0);
	sqe = ring_sqe(&ring, IORING_OP_POLL_REMOVE, -1, 10);
	sqe->addr = 99;
	say("no poll", do_whole(sqe));
	poll_for(pipe_ends[0], POLLIN, 11);
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_POLL_REMOVE, -1, 12);
	sqe->addr = 11;
	say("remove", do_whole(sqe));
	say("removed", result_of(11));
	poll_for(pipe_ends[1], POLLIN, 13);
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_POLL_REMOVE, -1, 14);
	sqe->addr = 13;
	sqe->len = IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA;
	sqe->off = 15;
	sqe->poll32_events = POLLOUT;
	say("update", do_whole(sqe));
	say("updated", result_of(15));
	sqe = ring_sqe(&ring, IORING_OP_POLL_REMOVE, -1, 16);
	sqe->off = 15;
	say("nothing to update", do_whole(sqe));
	sqe = ring_sqe(&ring, IORING_OP_POLL_REMOVE, -1, 17);
	sqe->len = IORING_POLL_ADD_MULTI;
	say("many of none", do_whole(sqe));
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void change_timers(void)
{
	struct io_uring_sqe *sqe;
	struct __kernel_timespec now;
	struct timespec clock;

	sqe = timer(&soon, 20);
	sqe->off = 2;
	sqe->timeout_flags = TIMEOUT_MULTISHOT;
	CHECK(ring_enter(&ring, 0) == 1);
	say("first time", result_of(20));
	say("second time", result_of(20));
	sqe = timer(&soon, 21);
	sqe->timeout_flags = TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS;
	say("many at one time", do_whole(sqe));
	sqe = timer(&soon, 22);
	sqe->timeout_flags = IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME;
	say("two clocks", do_whole(sqe));
	clock_gettime(CLOCK_REALTIME, &clock);
	now = (struct __kernel_timespec){clock.tv_sec, clock.tv_nsec};
	sqe = timer(&now, 23);
	sqe->timeout_flags = IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME;
	say("by the wall clock", do_whole(sqe));
	timer(&late, 24);
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_TIMEOUT_REMOVE, -1, 25);
	sqe->addr = 24;
	sqe->addr2 = address_of(&soon);
	sqe->timeout_flags = IORING_TIMEOUT_UPDATE;
	say("update", do_whole(sqe));
	say("updated", result_of(24));
	sqe = ring_sqe(&ring, IORING_OP_TIMEOUT_REMOVE, -1, 26);
	sqe->addr = 24;
	sqe->addr2 = address_of(&soon);
	sqe->timeout_flags = IORING_TIMEOUT_UPDATE;
	say("update none", do_whole(sqe));
}

static void cancel_by_call(void)
{
	struct io_uring_sync_cancel_reg cancel = {
		.addr = 77,
		.timeout = {.tv_sec = -1, .tv_nsec = -1},
	};
	int pipe_ends[2];

	CHECK(pipe(pipe_ends) == 0);
	say_registered("cancel none", ring_register(IORING_REGISTER_SYNC_CANCEL, &cancel, 1));
	say_registered("no struct", ring_register(IORING_REGISTER_SYNC_CANCEL, &cancel, 0));
	for (int i = 0; i < 3; i++)
		poll_for(pipe_ends[0], POLLIN, 77);
	CHECK(ring_enter(&ring, 0) == 3);
	say_registered("cancel one", ring_register(IORING_REGISTER_SYNC_CANCEL, &cancel, 1));
	cancel.flags = IORING_ASYNC_CANCEL_ALL;
	say_registered("cancel all", ring_register(IORING_REGISTER_SYNC_CANCEL, &cancel, 1));
	for (int i = 0; i < 3; i++)
		say("cancelled", result_of(77));
	cancel.flags = 1U << 20;
	say_registered("flags", ring_register(IORING_REGISTER_SYNC_CANCEL, &cancel, 1));
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static int enter_with(struct io_uring_getevents_arg *arg, uint32_t least)
{
	uint32_t count = ring.sq_tail - ring.submitted;
	long result;

	atomic_store_explicit(ring_word(&ring, ring.params.sq_off.tail), ring.sq_tail,
			      memory_order_release);
	result = syscall(__NR_io_uring_enter, ring.fd, count, least,
			 IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, arg, sizeof(*arg));
	if (result > 0)
		ring.submitted += (uint32_t)result;
	return result < 0 ? -errno : (int)result;
}

static void ignore(int number)
{
	(void)number;
}

static void wait_with_mask(void)
{
	struct sigaction action = {.sa_handler = ignore};
	struct itimerval once = {.it_value.tv_usec = 20000};
	uint64_t mask = 1ULL << (SIGALRM - 1);
	struct __kernel_timespec time = {0, 100000000};
	struct io_uring_getevents_arg arg = {
		.sigmask = address_of(&mask),
		.sigmask_sz = 8,
		.ts = address_of(&time),
	};

	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
	printf("signal that is masked: %d\n", enter_with(&arg, 1));
	mask = 0;
	CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
	printf("signal that is not: %d\n", enter_with(&arg, 1));
	arg.sigmask_sz = 4;
	printf("mask of another size: %d\n", enter_with(&arg, 1));
	arg.sigmask_sz = 8;
	arg.sigmask = 8;
	printf("mask nowhere: %d\n", enter_with(&arg, 1));
	printf("plain mask of another size: %ld %d\n",
	       syscall(__NR_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, &mask, 4),
	       errno);
}

/* Two are wanted, but after a while one is enough. */
static void wait_with_patience(void)
{
	struct io_uring_getevents_arg arg = {.pad = 30000, .ts = address_of(&late)};

	if (!(ring.params.features & 1U << 15))
		return;
	ring_sqe(&ring, IORING_OP_NOP, -1, 40);
	CHECK(enter_with(&arg, 2) == 1);
	say("one of two", next_result());
	timer(&soon, 41);
	arg.pad = 1000;
	CHECK(enter_with(&arg, 2) == 1);
	say("later", next_result());
}

/* ---- settings ----------------------------------------------------------------------------------- */

static uint64_t count_of(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void tell_an_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK), not_one = STDOUT_FILENO, pipe_ends[2];

	CHECK(pipe(pipe_ends) == 0);
	say_registered("no eventfd", ring_register(IORING_REGISTER_EVENTFD, &not_one, 1));
	say_registered("two", ring_register(IORING_REGISTER_EVENTFD, &fd, 2));
	say_registered("none", ring_register(IORING_UNREGISTER_EVENTFD, NULL, 0));
	say_registered("one", ring_register(IORING_REGISTER_EVENTFD, &fd, 1));
	say_registered("again", ring_register(IORING_REGISTER_EVENTFD, &fd, 1));
	say("told", do_whole(ring_sqe(&ring, IORING_OP_NOP, -1, 50)));
	printf("count: %d\n", (int)count_of(fd));
	/* It can be waited for by poll(2): nobody enters the ring meanwhile. */
	poll_for(pipe_ends[0], POLLIN, 51);
	CHECK(ring_enter(&ring, 0) == 1);
	printf("count: %d\n", (int)count_of(fd));
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	CHECK(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10000) == 1);
	say("told later", next_result());
	say_registered("away", ring_register(IORING_UNREGISTER_EVENTFD, NULL, 0));
	count_of(fd);
	say_registered("async", ring_register(IORING_REGISTER_EVENTFD_ASYNC, &fd, 1));
	say("not told", do_whole(ring_sqe(&ring, IORING_OP_NOP, -1, 52)));
	printf("count: %d\n", (int)count_of(fd));
	say_registered("away", ring_register(IORING_UNREGISTER_EVENTFD, NULL, 0));
	close(fd);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void keep_settings(void)
{
	uint32_t workers[2] = {3, 0}, clock[4] = {CLOCK_BOOTTIME};
	struct napi napi = {.busy_poll_to = 50};
	uint64_t processors = 1;

	say_registered("workers", ring_register(IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2));
	workers[0] = workers[1] = 0;
	say_registered("workers", ring_register(IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2));
	printf("were: %u\n", workers[0]);
	say_registered("workers", ring_register(IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 1));
	say_registered("processors", ring_register(IORING_REGISTER_IOWQ_AFF, &processors, 8));
	say_registered("processors", ring_register(IORING_REGISTER_IOWQ_AFF, NULL, 8));
	say_registered("all", ring_register(IORING_UNREGISTER_IOWQ_AFF, NULL, 0));
	say_registered("napi", ring_register(REGISTER_NAPI, &napi, 1));
	napi.resv = 1;
	say_registered("napi", ring_register(REGISTER_NAPI, &napi, 1));
	say_registered("no napi", ring_register(UNREGISTER_NAPI, &napi, 1));
	printf("was: %u\n", napi.busy_poll_to);
	say_registered("clock", ring_register(REGISTER_CLOCK, clock, 0));
	clock[0] = CLOCK_REALTIME;
	say_registered("clock", ring_register(REGISTER_CLOCK, clock, 0));
	say_registered("unknown", ring_register(99, NULL, 0));
}

static void restrict_ring(void)
{
	struct io_uring_restriction allowed[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP},
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
		 .register_op = IORING_REGISTER_ENABLE_RINGS},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_IO_LINK},
	};
	struct io_uring_sqe *sqe;

	say_registered("enabled", ring_register(IORING_REGISTER_RESTRICTIONS, allowed, 3));
	ring_close(&ring);
	CHECK(ring_open(&ring, 16, IORING_SETUP_R_DISABLED, 0) == 0);
	say_registered("restrict", ring_register(IORING_REGISTER_RESTRICTIONS, allowed, 3));
	say_registered("again", ring_register(IORING_REGISTER_RESTRICTIONS, allowed, 3));
	printf("enter: %d\n", ring_enter(&ring, 0));
	say_registered("enable", ring_register(IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	say_registered("probe", ring_register(IORING_REGISTER_PROBE, NULL, 0));
	say("allowed", do_whole(ring_sqe(&ring, IORING_OP_NOP, -1, 60)));
	sqe = ring_sqe(&ring, IORING_OP_NOP, -1, 61);
	sqe->flags = IOSQE_IO_LINK;
	say("allowed flag", do_whole(sqe));
	sqe = ring_sqe(&ring, IORING_OP_NOP, -1, 62);
	sqe->flags = IOSQE_ASYNC;
	say("another flag", do_whole(sqe));
	say("another operation", do_whole(poll_for(0, POLLIN, 63)));
}

int main(void)
{
	CHECK(ring_open(&ring, 16, 0, 0) == 0);
	drain();
	change_polls();
	change_timers();
	cancel_by_call();
	wait_with_mask();
	wait_with_patience();
	tell_an_eventfd();
	keep_settings();
	restrict_ring();
	ring_close(&ring);
	return 0;
}
