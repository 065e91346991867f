/* SPDX-License-Identifier: MIT */
/*
 * What a C unit test needs, and no more: checks that report and go on, waits
 * that end, and a runner. Nothing here depends on assert(), so NDEBUG may be set.
 *
 * A test is a function whose name is a sentence. A check that fails prints
 * file, line, expression and values, and fails the test it happens in, in
 * whichever thread it happens.
 */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CHECK_FAILURES_SHOWN 20U

#if defined(__SANITIZE_THREAD__)
#define CHECK_SLOWDOWN 8U
#elif defined(__SANITIZE_ADDRESS__)
#define CHECK_SLOWDOWN 4U
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHECK_SLOWDOWN 8U
#elif __has_feature(address_sanitizer)
#define CHECK_SLOWDOWN 4U
#endif
#endif
#ifndef CHECK_SLOWDOWN
#define CHECK_SLOWDOWN 1U
#endif

/* How often to repeat something; instrumented builds repeat less, so as to take as long. */
#define CHECK_REPEAT(times) ((times) / CHECK_SLOWDOWN)

static atomic_uint check_failures;
static const char *check_running = ""; /* the test at work, for the one that must give up */

/* Count a failure; true while failures are still worth printing. */
static inline bool check_failed(void)
{
	return atomic_fetch_add(&check_failures, 1) < CHECK_FAILURES_SHOWN;
}

static inline bool check_true(bool ok, const char *file, int line, const char *text)
{
	if (!ok && check_failed())
		fprintf(stderr, "%s:%d: not true: %s\n", file, line, text);
	return ok;
}

static inline bool check_equal(int64_t actual, int64_t expected, const char *file, int line,
			       const char *text)
{
	if (actual != expected && check_failed())
		fprintf(stderr,
			"%s:%d: %s: %" PRId64 " (0x%" PRIx64 "), expected %" PRId64 " (0x%" PRIx64
			")\n",
			file, line, text, actual, (uint64_t)actual, expected, (uint64_t)expected);
	return actual == expected;
}

static inline bool check_bytes(const void *actual, const void *expected, size_t size,
			       const char *file, int line, const char *text)
{
	const uint8_t *got = actual, *want = expected;

	for (size_t i = 0; i < size; i++) {
		if (got[i] == want[i])
			continue;
		if (check_failed())
			fprintf(stderr, "%s:%d: %s: byte %zu of %zu is 0x%02x, expected 0x%02x\n",
				file, line, text, i, size, got[i], want[i]);
		return false;
	}
	return true;
}

static inline void check_give_up(void)
{
	fprintf(stderr, "given up in %s\n", check_running);
	abort();
}

/* Each is also an expression: true if it held. */
#define CHECK(condition) check_true(!!(condition), __FILE__, __LINE__, #condition)
#define CHECK_EQ(actual, expected)                                              \
	check_equal((int64_t)(actual), (int64_t)(expected), __FILE__, __LINE__, \
		    #actual " == " #expected)
#define CHECK_BYTES(actual, expected, size) \
	check_bytes((actual), (expected), (size), __FILE__, __LINE__, #actual)

/* For what a test cannot go on without. */
#define REQUIRE(condition)               \
	do {                             \
		if (!CHECK(condition))   \
			check_give_up(); \
	} while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* ---- waits that end ---------------------------------------------------------- */

/*
 * Patience ends by time in which this process could act: however many others want the processors,
 * and for how long none was left for us, is no fault of who is waited for.
 */
struct patience {
	uint64_t looked_ns; /* 0 = not started */
	uint64_t delays_ns; /* the threads' at the last look */
	uint64_t passed_ns;
	uint32_t rounds;
};

/* Slower threads change hands less often, too. */
#define PATIENCE_NS (30U * CHECK_SLOWDOWN * UINT64_C(1000000000))
#define LOOK_NS UINT64_C(1000000000)

static inline uint64_t check_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline uint64_t check_delay_of_ns(const char *thread)
{
	uint64_t delayed_ns = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", thread);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%*u %" SCNu64, &delayed_ns) != 1)
		delayed_ns = 0;
	fclose(file);
	return delayed_ns;
}

/* For how long the threads waited for a processor, taken together; 0 where Linux does not say. */
static inline uint64_t check_delays_ns(void)
{
	DIR *threads = opendir("/proc/self/task");
	uint64_t delays_ns = 0;

	for (struct dirent *thread; threads && (thread = readdir(threads));)
		delays_ns += check_delay_of_ns(thread->d_name);
	if (threads)
		closedir(threads);
	return delays_ns;
}

/* So long since the first call, and not because of others. Cheap but for a look a second. */
static inline bool lasts_for(struct patience *patience, uint64_t limit_ns)
{
	uint64_t now_ns = check_now_ns(), since_ns = now_ns - patience->looked_ns;
	uint64_t before_ns = patience->delays_ns, delayed_ns;

	if (patience->looked_ns && since_ns < LOOK_NS)
		return patience->passed_ns >= limit_ns;
	patience->delays_ns = check_delays_ns();
	if (patience->looked_ns) {
		/* Of a thread that has ended the delays are gone. */
		delayed_ns = patience->delays_ns > before_ns ? patience->delays_ns - before_ns : 0;
		/* Longer: so long we ourselves, or the whole machine, had no turn. */
		patience->passed_ns += since_ns < 2 * LOOK_NS ? since_ns : LOOK_NS;
		/* Known only when the delay is over: it may be of earlier looks. */
		patience->passed_ns -= delayed_ns < patience->passed_ns ? delayed_ns :
									  patience->passed_ns;
	}
	patience->looked_ns = now_ns;
	return patience->passed_ns >= limit_ns;
}

/*
 * One more round of work that moves what is waited for, by time or by the kernel; false, with a
 * failed check, when it took too long. Who yields here would have one round a turn, where others
 * want the processors, too.
 */
static inline bool work_more(struct patience *patience)
{
	return CHECK(!lasts_for(patience, PATIENCE_NS));
}

/* One round of waiting for another thread; false, with a failed check, when it took too long. */
static inline bool wait_more(struct patience *patience)
{
	sched_yield();
	return ++patience->rounds % 256 != 0 || work_more(patience);
}

/*
 * Repetitions that need the other thread each time end early on a busy machine,
 * where every change of hands may cost a time slice.
 */
struct budget {
	uint64_t deadline_ns; /* 0 = not started */
	uint32_t rounds;
};

#define BUDGET_NS (2U * UINT64_C(1000000000))

static inline bool in_budget(struct budget *budget)
{
	if (budget->rounds++ % 64 != 0)
		return true;
	if (budget->deadline_ns == 0)
		budget->deadline_ns = check_now_ns() + BUDGET_NS;
	return check_now_ns() < budget->deadline_ns;
}

/* ---- the runner ---------------------------------------------------------------- */

struct check_case {
	const char *name;
	void (*run)(void);
};

/* No test takes so much: one that does goes round for ever. */
#define CPU_SECONDS 900U

static inline void check_out_of_time(int signal)
{
	static const char text[] = "too much CPU time in ";

	(void)signal;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) > 0 &&
	    write(STDERR_FILENO, check_running, strlen(check_running)) > 0)
		abort();
	abort();
}

static inline void check_limit_time(void)
{
	struct rlimit limit;

	signal(SIGXCPU, check_out_of_time);
	if (getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_cur > CPU_SECONDS) {
		limit.rlim_cur = CPU_SECONDS;
		setrlimit(RLIMIT_CPU, &limit);
	}
}

/* Run all cases, or those whose name contains the first argument. */
static inline int check_run(const struct check_case *cases, size_t count, int argc, char **argv)
{
	unsigned int passed = 0, failed = 0;

	check_limit_time();
	for (size_t i = 0; i < count; i++) {
		unsigned int before = atomic_load(&check_failures);

		if (argc > 1 && !strstr(cases[i].name, argv[1]))
			continue;
		check_running = cases[i].name;
		cases[i].run();
		if (atomic_load(&check_failures) == before) {
			passed++;
			continue;
		}
		failed++;
		fprintf(stderr, "failed; again by itself: %s %s\n", argv[0], cases[i].name);
	}
	if (failed)
		printf("%u passed, %u failed\n", passed, failed);
	else
		printf("%u passed\n", passed);
	return failed || passed == 0;
}

#define CASE(function) {#function, function}
#define CHECK_MAIN(...)                                                 \
	int main(int argc, char **argv)                                 \
	{                                                               \
		static const struct check_case cases[] = {__VA_ARGS__}; \
                                                                        \
		return check_run(cases, COUNT_OF(cases), argc, argv);   \
	}

#endif /* CHECK_H */
