/*
 * Two processes on two cores: where they run, how they start together, how
 * they wait and how they end. What every two-process yardstick here shares.
 *
 * Waiting spins. A futex wake across cores costs tens of microseconds, so a
 * yardstick that sleeps would measure the scheduler. Only where both
 * processes share one core does a waiter give it up, since its peer could
 * not run otherwise.
 *
 * No wait here has a bound of its own. pair_limit_life() gives the whole
 * process one, which costs nothing in a measured loop.
 */
#ifndef BENCH_PAIR_H
#define BENCH_PAIR_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * Words of different writers keep this distance: two lines, because some
 * processors fetch lines in pairs.
 */
#define PAIR_LINE_BYTES 128

/* Start and end of a run; in shared memory, all zero before the start. */
struct pair_run {
	_Atomic uint32_t arrived;	/* how many of the two have lined up */
	_Alignas(PAIR_LINE_BYTES) _Atomic uint64_t total;	/* see pair_end() */
	_Alignas(PAIR_LINE_BYTES) _Atomic uint32_t drained;	/* see pair_drained() */
};

static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
	_exit(1);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t deadline_after(double seconds)
{
	return now_ns() + (uint64_t)(seconds * 1e9);
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

/* One turn of a waiting loop; alone: both processes share one core. */
static inline void wait_a_little(bool alone)
{
	if (alone)
		sched_yield();
	else
		cpu_relax();
}

/* The number of the nth core that this process may use, or -1. */
static inline int allowed_core(unsigned nth)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return -1;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) && nth-- == 0)
			return (int)cpu;
	return -1;
}

/* Best effort: where it is forbidden, the scheduler decides. */
static inline void pin_to(int core)
{
	cpu_set_t only;

	if (core < 0)
		return;
	CPU_ZERO(&only);
	CPU_SET((size_t)core, &only);
	if (sched_setaffinity(0, sizeof(only), &only))
		fprintf(stderr, "not pinned to core %d\n", core);
}

/* Ends this process by SIGALRM should a run hang, whatever it waits for. */
static inline void pair_limit_life(double seconds)
{
	alarm((unsigned)seconds + 20);
}

/* Zeroed memory that a later fork shares, its pages already there. */
static inline void *shared_bytes(size_t size)
{
	void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (bytes == MAP_FAILED)
		die("mmap");
	return bytes;
}

/*
 * Forks; both sides come back with their own life bounded. The child, which
 * sees 0, dies with its parent.
 */
static inline pid_t pair_fork(double seconds)
{
	pid_t parent = getpid();
	pid_t child = fork();

	if (child < 0)
		die("fork");
	pair_limit_life(seconds);	/* alarms are not inherited */
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)	/* it died before the prctl */
			_exit(1);
	}
	return child;
}

/* Returns when both processes have called it. */
static inline void pair_line_up(struct pair_run *run, bool alone)
{
	atomic_fetch_add_explicit(&run->arrived, 1, memory_order_acq_rel);
	while (atomic_load_explicit(&run->arrived, memory_order_acquire) < 2)
		wait_a_little(alone);
}

/*
 * The producer says how many things it has sent, once, when no more follow.
 * Stored plus one, so that 0 means "not yet".
 *
 * Ordering: release, pairs with the acquire in pair_ended_at().
 */
static inline void pair_end(struct pair_run *run, uint64_t total)
{
	atomic_store_explicit(&run->total, total + 1, memory_order_release);
}

/* Whether the producer has ended and the consumer has all it sent. */
static inline bool pair_ended_at(struct pair_run *run, uint64_t taken)
{
	return atomic_load_explicit(&run->total, memory_order_acquire) ==
	       taken + 1;
}

/*
 * The consumer says that it has all, before it exits, which takes far longer
 * than an entry does: the producer's clock stops at this.
 *
 * Ordering: relaxed is enough, since nothing but the clock depends on it;
 * what the consumer found is in its exit code.
 */
static inline void pair_drained(struct pair_run *run)
{
	atomic_store_explicit(&run->drained, 1, memory_order_relaxed);
}

static inline void pair_await_drained(struct pair_run *run, bool alone)
{
	while (!atomic_load_explicit(&run->drained, memory_order_relaxed))
		wait_a_little(alone);
}

/* The child's exit code is its verdict: 0, or the run is worth nothing. */
static inline void pair_join(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	errno = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		die("the other process");
}

/* What the Python driver reads: one JSON object on one line. */
static inline void report(const char *unit, double value)
{
	printf("{\"unit\": \"%s\", \"value\": %.6g}\n", unit, value);
}

static inline uint32_t parse_count(const char *text, uint32_t least,
				   uint32_t most)
{
	char *end;
	unsigned long count = strtoul(text, &end, 10);

	errno = 0;
	if (*end || end == text || count < least || count > most) {
		fprintf(stderr, "%s: not a count of %u to %u\n", text, least,
			most);
		_exit(2);
	}
	return (uint32_t)count;
}

static inline double parse_seconds(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*end || end == text || !(seconds > 0 && seconds <= 3600)) {
		fprintf(stderr, "%s: not a time of up to 3600 s\n", text);
		_exit(2);
	}
	return seconds;
}

#endif
