/* SPDX-License-Identifier: MIT */
/* Pages that are taken away: seen where they are looked after, passed on where they are not. */
#define _GNU_SOURCE
#include "check.h"
#include "wire/sigbus.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 4U

static size_t page;
static sigjmp_buf away;
static volatile sig_atomic_t calls;
static struct sigaction covered;

struct object {
	int fd;
	volatile char *memory;
};

static struct object make(void)
{
	struct object object = {.fd = memfd_create("cut", MFD_CLOEXEC)};

	page = (size_t)sysconf(_SC_PAGESIZE);
	CHECK_EQ(ftruncate(object.fd, (off_t)(PAGES * page)), 0);
	object.memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, object.fd, 0);
	CHECK(object.memory != MAP_FAILED);
	return object;
}

static void cut_to(struct object *object, size_t pages)
{
	CHECK_EQ(ftruncate(object->fd, (off_t)(pages * page)), 0);
}

static void drop(struct object *object)
{
	munmap((void *)object->memory, PAGES * page);
	close(object->fd);
}

static void pages_that_are_gone_read_as_zeros_and_are_counted(void)
{
	struct object object = make();
	int number;

	CHECK_EQ(zcrx_sigbus_begin(), 0);
	number = zcrx_sigbus_watch((void *)object.memory, PAGES * page);
	memset((void *)object.memory, 7, PAGES * page);
	cut_to(&object, 1);
	CHECK_EQ(object.memory[page - 1], 7);
	CHECK_EQ(zcrx_sigbus_hurt(number), 0);
	CHECK_EQ(object.memory[PAGES * page - 1], 0);
	object.memory[page] = 9;
	CHECK_EQ(object.memory[page], 9);
	CHECK_EQ(zcrx_sigbus_hurt(number), 2);
	zcrx_sigbus_forget(number);
	zcrx_sigbus_end();
	drop(&object);
}

static void leave(int number)
{
	(void)number;
	calls++;
	siglongjmp(away, 1);
}

/* Does a touch end in leave()? */
static bool escapes(volatile const char *where)
{
	if (sigsetjmp(away, 1))
		return true;
	(void)*where;
	return false;
}

static void what_is_not_looked_after_is_somebody_elses(void)
{
	struct object watched = make(), other = make();
	struct sigaction theirs = {.sa_handler = leave}, old, now;
	int number;

	sigaction(SIGBUS, &theirs, &old);
	CHECK_EQ(zcrx_sigbus_begin(), 0);
	number = zcrx_sigbus_watch((void *)watched.memory, PAGES * page);
	cut_to(&watched, 0);
	cut_to(&other, 0);
	calls = 0;
	CHECK(!escapes(watched.memory));
	CHECK(escapes(other.memory));
	CHECK_EQ(calls, 1);
	zcrx_sigbus_forget(number);
	zcrx_sigbus_end();
	sigaction(SIGBUS, &old, &now);
	CHECK(now.sa_handler == leave);
	drop(&watched);
	drop(&other);
}

/* As a runtime does that installs its handlers late, or puts back what it found early. */
static void a_handler_that_was_put_over_ours_ends_with_the_next_begin(void)
{
	struct object object = make();
	struct sigaction theirs = {.sa_handler = SIG_DFL};
	int number;

	CHECK_EQ(zcrx_sigbus_begin(), 0);
	sigaction(SIGBUS, &theirs, NULL);
	CHECK_EQ(zcrx_sigbus_begin(), 0);
	number = zcrx_sigbus_watch((void *)object.memory, PAGES * page);
	cut_to(&object, 0);
	CHECK_EQ(object.memory[0], 0);
	CHECK_EQ(zcrx_sigbus_hurt(number), 1);
	zcrx_sigbus_forget(number);
	zcrx_sigbus_end();
	zcrx_sigbus_end();
	drop(&object);
}

/* Calls whom it covered, as a handler should. */
static void pass_down(int number, siginfo_t *info, void *context)
{
	calls++;
	covered.sa_sigaction(number, info, context);
}

static int signal_that_ends(void (*body)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		body();
		_exit(0);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void two_that_pass_on_to_each_other(void)
{
	struct object object = make();
	struct sigaction theirs = {.sa_sigaction = pass_down, .sa_flags = SA_SIGINFO};

	signal(SIGBUS, SIG_DFL); /* a sanitizer has one of its own */
	zcrx_sigbus_begin();
	sigaction(SIGBUS, &theirs, &covered);
	zcrx_sigbus_begin();
	cut_to(&object, 0);
	(void)object.memory[0];
}

static void touch_with_nobody_in_the_way(void)
{
	struct object object = make();

	signal(SIGBUS, SIG_DFL);
	zcrx_sigbus_begin();
	cut_to(&object, 0);
	(void)object.memory[0];
}

static void be_sent_one(void)
{
	signal(SIGBUS, SIG_DFL);
	zcrx_sigbus_begin();
	raise(SIGBUS);
}

static void nobody_to_pass_it_on_to_is_a_death(void)
{
	CHECK_EQ(signal_that_ends(touch_with_nobody_in_the_way), SIGBUS);
	CHECK_EQ(signal_that_ends(be_sent_one), SIGBUS);
}

static void a_ring_of_handlers_is_a_death_and_no_hang(void)
{
	CHECK_EQ(signal_that_ends(two_that_pass_on_to_each_other), SIGBUS);
}

static void ranges_that_are_too_many_are_refused_and_can_be_had_again(void)
{
	static char memory[8];
	int numbers[ZCRX_SIGBUS_RANGES];

	for (size_t i = 0; i < ZCRX_SIGBUS_RANGES; i++)
		CHECK((numbers[i] = zcrx_sigbus_watch(memory, sizeof(memory))) >= 0);
	CHECK(zcrx_sigbus_watch(memory, sizeof(memory)) < 0);
	CHECK_EQ(zcrx_sigbus_watched(), ZCRX_SIGBUS_RANGES);
	zcrx_sigbus_forget(numbers[100]);
	CHECK_EQ(zcrx_sigbus_watch(memory, sizeof(memory)), numbers[100]);
	for (size_t i = 0; i < ZCRX_SIGBUS_RANGES; i++)
		zcrx_sigbus_forget(numbers[i]);
	CHECK_EQ(zcrx_sigbus_watched(), 0);
	zcrx_sigbus_forget(-1);
	zcrx_sigbus_forget(ZCRX_SIGBUS_RANGES);
	CHECK_EQ(zcrx_sigbus_hurt(ZCRX_SIGBUS_RANGES), 0);
}

CHECK_MAIN(CASE(pages_that_are_gone_read_as_zeros_and_are_counted),
	   CASE(what_is_not_looked_after_is_somebody_elses),
	   CASE(a_handler_that_was_put_over_ours_ends_with_the_next_begin),
	   CASE(nobody_to_pass_it_on_to_is_a_death),
	   CASE(a_ring_of_handlers_is_a_death_and_no_hang),
	   CASE(ranges_that_are_too_many_are_refused_and_can_be_had_again))
