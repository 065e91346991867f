/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "watchdog.h"
#include "answer.h"

#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#define TICK_US 250000

static const struct search *watched;

/* Outside of an actor there is nothing to go back to: say what there is, and end. */
static void __attribute__((noreturn)) end_here(void)
{
	static struct explore_step steps[SIM_STEPS_MAX];

	answer_end(watched, true);
	answer_finding(watched, steps, explore_schedule(watched->engine, steps));
	fflush(stdout);
	_exit(1);
}

/*
 * The handlers run on the stack of the actor that they interrupt, and sim_fail()
 * leaves it for good: no step is half done, since an actor that makes steps is
 * not what they are for.
 */
static void on_crash(int number)
{
	sim_fail(SIGNAL, (uint64_t)number);
	end_here();
}

/* Each quarter second of processor time: has any step been done since the last two? */
static void on_tick(int number)
{
	static uint64_t executions_before, hash_before;
	static uint32_t same;

	(void)number;
	if (!watched->engine) {
		if (same++ > 0)
			sim_fail(NO_END);
		return;
	}
	same = watched->executions == executions_before &&
			       sim_trace_hash(watched->engine) == hash_before ?
		       same + 1 :
		       0;
	executions_before = watched->executions;
	hash_before = sim_trace_hash(watched->engine);
	if (same < 2)
		return;
	same = 0;
	sim_fail(NEVER_YIELDS);
	end_here();
}

void __assert_fail(const char *what, const char *file, unsigned int line, const char *function)
	__attribute__((noreturn));

/* In the place of the C library's: a failed assertion ends the execution, not the search. */
void __assert_fail(const char *what, const char *file, unsigned int line, const char *function)
{
	sim_report((struct sim_finding){
		.found = SIM_FOUND_ASSERTION,
		.offset = UINT32_MAX,
		.numbers = {line},
		.quote = {file, function, what},
	});
	end_here();
}

void watchdog_start(const struct search *search)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	/* SA_NODEFER: a handler that leaves for another stack never returns. */
	struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_NODEFER | SA_RESTART};

	watched = search;
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i], &action, NULL);
	action.sa_handler = on_tick;
	sigaction(SIGPROF, &action, NULL);
	/* Processor time, not the clock: a busy machine is no livelock. */
	setitimer(ITIMER_PROF, &(struct itimerval){{0, TICK_US}, {0, TICK_US}}, NULL);
}

void watchdog_stop(void)
{
	setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
}
