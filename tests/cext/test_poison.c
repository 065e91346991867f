/* SPDX-License-Identifier: MIT */
/*
 * Poison: what is not out cannot be touched without being noticed, what is out can,
 * and a fault anywhere else is what it would have been without us. One view in a
 * process, so each case has a process of its own.
 */
#define _GNU_SOURCE
#include "check.h"
#include "actors/poison.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NIOVS 8U
#define SHIFT 12U
#define SIZE ((uint64_t)NIOVS << SHIFT)

static volatile sig_atomic_t told;
static uint8_t *area;
static struct zcrx_poison *poison;

static void tell(int signal)
{
	(void)signal;
	told++;
}

static void start(void)
{
	const struct sigaction action = {.sa_handler = tell};

	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(area != MAP_FAILED);
	zcrx_poison_keep_handler();
	REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0);
	poison = zcrx_poison_start(area, NIOVS, SHIFT);
	REQUIRE(poison);
}

static volatile uint8_t *view_of(uint32_t niov)
{
	return (volatile uint8_t *)zcrx_poison_view(poison) + ((uint64_t)niov << SHIFT);
}

static uint64_t touches(struct zcrx_touch *last)
{
	struct zcrx_touch all[ZCRX_TOUCHES_MAX];
	uint64_t count;
	uint32_t taken = zcrx_poison_take(poison, all, ZCRX_TOUCHES_MAX, &count);

	if (taken && last)
		*last = all[taken - 1];
	return count;
}

static void what_is_out_can_be_read_and_written(void)
{
	zcrx_poison_hand_out(poison, 3);
	area[(3U << SHIFT) + 7] = 42; /* the NIC's mapping, or the core's: always open */
	CHECK_EQ(view_of(3)[7], 42);
	view_of(3)[8] = 43;
	CHECK_EQ(area[(3U << SHIFT) + 8], 43);
	CHECK_EQ(touches(NULL), 0);
	CHECK_EQ(told, 0);
}

static void a_read_after_the_return_is_told_with_its_place(void)
{
	struct zcrx_touch touch = {0};

	zcrx_poison_hand_out(poison, 3);
	area[3U << SHIFT] = 42;
	zcrx_poison_give_back(poison, 3);
	CHECK_EQ(view_of(3)[0x123], 0); /* noticed, and it goes on */
	CHECK_EQ(told, 1);
	CHECK_EQ(touches(&touch), 1);
	CHECK_EQ(touch.off, (3U << SHIFT) + 0x123);
	CHECK_EQ(touch.thread, getpid());
	CHECK_EQ(touch.is_write, 0);
	CHECK_EQ(view_of(3)[0], 42); /* once: it stays open … */
	CHECK_EQ(touches(NULL), 1);
	zcrx_poison_hand_out(poison, 3);
	zcrx_poison_give_back(poison, 3); /* … until it is given back once more */
	view_of(3)[5] = 1;
	CHECK_EQ(touches(&touch), 2);
#if defined(__x86_64__)
	CHECK_EQ(touch.is_write, 1);
#endif
}

static void a_buffer_is_closed_with_its_last_fragment(void)
{
	for (uint32_t i = 0; i < 3; i++)
		zcrx_poison_hand_out(poison, 5);
	for (uint32_t i = 0; i < 2; i++)
		zcrx_poison_give_back(poison, 5);
	CHECK_EQ(view_of(5)[0], 0);
	CHECK_EQ(touches(NULL), 0);
	zcrx_poison_give_back(poison, 5);
	zcrx_poison_give_back(poison, 5); /* no fragment of it is out: nothing to close */
	CHECK_EQ(view_of(5)[0], 0);
	CHECK_EQ(touches(NULL), 1);
}

static void what_was_never_handed_out_is_closed_from_the_start(void)
{
	for (uint32_t niov = 0; niov < NIOVS; niov++)
		CHECK_EQ(view_of(niov)[niov], 0);
	CHECK_EQ(touches(NULL), NIOVS);
	CHECK_EQ(told, NIOVS);
}

static void more_touches_than_are_remembered_are_counted(void)
{
	struct zcrx_touch touch;

	for (uint32_t i = 0; i < 2 * ZCRX_TOUCHES_MAX; i++) {
		zcrx_poison_hand_out(poison, i % NIOVS);
		zcrx_poison_give_back(poison, i % NIOVS);
		view_of(i % NIOVS)[i] = 1;
	}
	CHECK_EQ(touches(&touch), 2 * ZCRX_TOUCHES_MAX);
	CHECK_EQ(touch.off & ((1U << SHIFT) - 1), 2 * ZCRX_TOUCHES_MAX - 1);
}

/* How a process ends that starts and then does this: its wait status. */
static int status_of(void (*function)(void))
{
	pid_t child = fork();
	int status;

	REQUIRE(child >= 0);
	if (child == 0) {
		start();
		function();
		_exit(atomic_load(&check_failures) != 0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	return status;
}

static void crashes(void)
{
	volatile uint8_t *elsewhere =
		mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(elsewhere != MAP_FAILED);
	elsewhere[1] = 1;
}

static void a_fault_elsewhere_is_the_crash_that_it_is(void)
{
	int status = status_of(crashes);

	/* A sanitizer that was there before makes an abort or an exit of it, as its options say. */
	if (WIFSIGNALED(status))
		CHECK(WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGABRT);
	else
		CHECK(WEXITSTATUS(status) != 0);
}

#define ALONE(name)                               \
	static void name##_(void)                 \
	{                                         \
		int status = status_of(name);     \
                                                  \
		CHECK(WIFEXITED(status));         \
		CHECK_EQ(WEXITSTATUS(status), 0); \
	}

ALONE(what_is_out_can_be_read_and_written)
ALONE(a_read_after_the_return_is_told_with_its_place)
ALONE(a_buffer_is_closed_with_its_last_fragment)
ALONE(what_was_never_handed_out_is_closed_from_the_start)
ALONE(more_touches_than_are_remembered_are_counted)

CHECK_MAIN(CASE(what_is_out_can_be_read_and_written_),
	   CASE(a_read_after_the_return_is_told_with_its_place_),
	   CASE(a_buffer_is_closed_with_its_last_fragment_),
	   CASE(what_was_never_handed_out_is_closed_from_the_start_),
	   CASE(more_touches_than_are_remembered_are_counted_),
	   CASE(a_fault_elsewhere_is_the_crash_that_it_is))
