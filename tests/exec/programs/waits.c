/* SPDX-License-Identifier: MIT */
/*
 * How calls that wait end, and who may make them: by enough completions, by time, by a signal,
 * or not at all. It runs as well without `exec`, on a kernel that has io_uring.
 */
#include "ring.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/time.h>
#include <time.h>

#define MS 1000000

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

static void handle(int number, int flags)
{
	const struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};

	CHECK(sigaction(number, &action, NULL) == 0);
}

static void alarm_in_ms(long ms)
{
	const struct itimerval once = {.it_value.tv_usec = ms * 1000};

	CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / MS;
}

/* A submission that only ends when it is cancelled. */
static void submit_endless(struct ring *ring, uint64_t user_data)
{
	static const struct __kernel_timespec never = {.tv_sec = 1000000};
	struct io_uring_sqe *sqe = ring_sqe(ring, IORING_OP_TIMEOUT, -1, user_data);

	sqe->addr = (uint64_t)(uintptr_t)&never;
	sqe->len = 1;
}

static void take(struct ring *ring, uint32_t count)
{
	while (count--) {
		CHECK(ring_cqe(ring));
		ring_seen(ring);
	}
}

/* The plain call, without an extended argument. */
static int enter(const struct ring *ring, uint32_t to_submit, uint32_t least, uint32_t flags)
{
	long result = syscall(__NR_io_uring_enter, ring->fd, to_submit, least, flags, NULL, 0);

	return result < 0 ? -errno : (int)result;
}

/* ---- by time ---------------------------------------------------------------------------- */

static void test_time_is_over(struct ring *ring)
{
	struct __kernel_timespec soon = {.tv_nsec = 20 * MS}, at_once = {0}, past = {.tv_sec = -1};
	long begin = now_ms();

	CHECK(ring_enter_for(ring, 1, &soon) == -ETIME);
	CHECK(now_ms() - begin >= 20);
	CHECK(ring_enter_for(ring, 1, &at_once) == -ETIME);
	CHECK(ring_enter_for(ring, 0, &soon) == 0);
	CHECK(ring_enter_for(ring, 1, &past) == -ETIME);
	/* Some are there, and not enough: that is no error. */
	ring_sqe(ring, IORING_OP_NOP, -1, 1);
	CHECK(ring_enter(ring, 1) == 1);
	CHECK(ring_enter_for(ring, 2, &soon) == 0);
	take(ring, 1);
	/* More is asked for than the queue can hold: it waits for a full one. */
	ring_sqe(ring, IORING_OP_NOP, -1, 1);
	CHECK(ring_enter_for(ring, 1000, &soon) == 1);
	take(ring, 1);
}

static void test_what_was_submitted_is_told(struct ring *ring)
{
	struct __kernel_timespec soon = {.tv_nsec = 20 * MS};

	submit_endless(ring, 1);
	submit_endless(ring, 2);
	CHECK(ring_enter_for(ring, 1, &soon) == 2);
	ring_sqe(ring, IORING_OP_TIMEOUT_REMOVE, -1, 3)->addr = 1;
	ring_sqe(ring, IORING_OP_TIMEOUT_REMOVE, -1, 4)->addr = 2;
	CHECK(ring_enter(ring, 4) == 2);
	take(ring, 4);
	/* More than there are: those that there are. */
	ring_sqe(ring, IORING_OP_NOP, -1, 5);
	CHECK(ring_enter(ring, 0) == 1);
	CHECK(enter(ring, 7, 0, 0) == 0);
	take(ring, 1);
}

/* ---- by a signal -------------------------------------------------------------------------- */

/*
 * Wait until a signal comes. One that comes before anybody has seen the call, on a machine with
 * much to do, interrupts it all the same, and nothing was done: then once more.
 */
static int enter_until_seen(struct ring *ring, uint32_t least)
{
	struct __kernel_timespec late = {.tv_sec = 100};
	int result = -EINTR, before = signals;

	for (int i = 0; i < 10 && result == -EINTR; i++) {
		alarm_in_ms(20);
		result = ring_enter_for(ring, least, &late);
		CHECK(signals == before + i + 1);
	}
	return result;
}

static void test_signal_ends_it(struct ring *ring, int flags)
{
	struct __kernel_timespec late = {.tv_sec = 100};
	int before = signals;

	handle(SIGALRM, flags);
	alarm_in_ms(20);
	CHECK(ring_enter_for(ring, 1, &late) == -EINTR && signals == before + 1);
	alarm_in_ms(20);
	CHECK(enter(ring, 0, 1, IORING_ENTER_GETEVENTS) == -EINTR && signals == before + 2);
	/* What was submitted is told all the same, and what is there is no error. */
	submit_endless(ring, 1);
	CHECK(enter_until_seen(ring, 1) == 1);
	ring_sqe(ring, IORING_OP_TIMEOUT_REMOVE, -1, 2)->addr = 1;
	CHECK(ring_enter(ring, 2) == 1);
	CHECK(enter_until_seen(ring, 3) == 0);
	take(ring, 2);
}

/* One that is blocked, or ignored, ends nothing. */
static void test_signal_that_is_not_attended_to_ends_nothing(struct ring *ring)
{
	struct __kernel_timespec soon = {.tv_nsec = 60 * MS};
	sigset_t set;
	int before = signals;

	handle(SIGALRM, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	alarm_in_ms(10);
	CHECK(ring_enter_for(ring, 1, &soon) == -ETIME && signals == before);
	CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0);
	CHECK(signals == before + 1);
	CHECK(signal(SIGALRM, SIG_IGN) != SIG_ERR);
	alarm_in_ms(10);
	CHECK(ring_enter_for(ring, 1, &soon) == -ETIME);
}

/* ---- whose it is ---------------------------------------------------------------------------- */

struct other {
	struct ring *ring;
	int submits, waits, registers, enables;
};

static void *act_as_another(void *argument)
{
	struct other *other = argument;
	struct ring *ring = other->ring;

	other->submits = enter(ring, 1, 0, 0);
	other->waits = enter(ring, 0, 0, IORING_ENTER_GETEVENTS);
	other->registers = (int)syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_PROBE,
					&(struct io_uring_probe){0}, 0);
	other->registers = other->registers ? -errno : 0;
	other->enables = (int)syscall(__NR_io_uring_register, ring->fd,
				      IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	other->enables = other->enables ? -errno : 0;
	return NULL;
}

static struct other as_another(struct ring *ring)
{
	struct other other = {.ring = ring};
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, act_as_another, &other) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	return other;
}

static void test_single_issuer_is_one_thread(void)
{
	const uint32_t deferred = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	struct ring ring;
	struct other other;

	CHECK(ring_open(&ring, 8, IORING_SETUP_SINGLE_ISSUER, 0) == 0);
	other = as_another(&ring);
	CHECK(other.submits == -EEXIST && other.waits == 0 && other.registers == -EEXIST);
	ring_close(&ring);
	CHECK(ring_open(&ring, 8, deferred, 0) == 0);
	other = as_another(&ring);
	CHECK(other.submits == -EEXIST && other.waits == -EEXIST && other.registers == -EEXIST);
	ring_close(&ring);
	/* It is whoever enables it. */
	CHECK(ring_open(&ring, 8, deferred | IORING_SETUP_R_DISABLED, 0) == 0);
	other = as_another(&ring);
	CHECK(other.submits == -EBADFD && other.waits == -EBADFD);
	CHECK(other.registers == 0 && other.enables == 0);
	CHECK(enter(&ring, 1, 0, 0) == -EEXIST);
	ring_close(&ring);
}

/* ---- several at once ------------------------------------------------------------------------ */

static void *wait_for_two(void *argument)
{
	struct ring *ring = argument;

	return (void *)(intptr_t)enter(ring, 0, 2, IORING_ENTER_GETEVENTS);
}

/* Threads wait for different numbers of completions of one ring, each of them until there are so many. */
static void test_threads_wait_together(struct ring *ring)
{
	pthread_t thread;
	void *result;

	CHECK(pthread_create(&thread, NULL, wait_for_two, ring) == 0);
	ring_sqe(ring, IORING_OP_NOP, -1, 1);
	CHECK(ring_enter(ring, 1) == 1);
	ring_sqe(ring, IORING_OP_NOP, -1, 2);
	CHECK(ring_enter(ring, 2) == 1);
	CHECK(pthread_join(thread, &result) == 0 && (intptr_t)result == 0);
	take(ring, 2);
}

/* A thread that waits in a ring of its own keeps no other one from working. */
static void test_one_waits_while_another_works(struct ring *ring)
{
	struct ring own;
	pthread_t thread;
	void *result;

	CHECK(pthread_create(&thread, NULL, wait_for_two, ring) == 0);
	CHECK(ring_open(&own, 8, 0, 0) == 0);
	for (int i = 0; i < 50; i++) {
		ring_sqe(&own, IORING_OP_NOP, -1, 1);
		CHECK(ring_enter(&own, 1) == 1);
		take(&own, 1);
	}
	ring_close(&own);
	ring_sqe(ring, IORING_OP_NOP, -1, 1);
	ring_sqe(ring, IORING_OP_NOP, -1, 2);
	CHECK(ring_enter(ring, 0) == 2);
	CHECK(pthread_join(thread, &result) == 0 && (intptr_t)result == 0);
	take(ring, 2);
}

static void test_in_a_ring(uint32_t flags)
{
	struct ring ring;

	CHECK(ring_open(&ring, 8, flags, 0) == 0);
	test_time_is_over(&ring);
	test_what_was_submitted_is_told(&ring);
	test_signal_ends_it(&ring, 0);
	test_signal_ends_it(&ring, SA_RESTART);
	test_signal_that_is_not_attended_to_ends_nothing(&ring);
	if (!(flags & IORING_SETUP_SINGLE_ISSUER)) {
		test_threads_wait_together(&ring);
		test_one_waits_while_another_works(&ring);
	}
	ring_close(&ring);
}

int main(void)
{
	test_in_a_ring(0);
	test_in_a_ring(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	test_single_issuer_is_one_thread();
	return 0;
}
