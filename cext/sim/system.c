/* SPDX-License-Identifier: MIT */
/* What actors call in the place of the kernel and the C library: sleeping, yielding, the clock. */
#include "history.h"
#include "step.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>

/* The build names them by hand. */
long sim_syscall(long number, ...);
int sim_sched_yield(void);
int sim_clock_gettime(clockid_t clock, struct timespec *now);
void zcrx_pause_hook(void);

bool sim_was_left_asleep(void)
{
	struct sim_engine *engine = execution_of_actor();

	return engine && engine->actors[engine->current].left_asleep;
}

static long sleep_on(struct sim_engine *engine, uint32_t offset, uint32_t expected,
		     const void *place)
{
	uint32_t me = (uint32_t)engine->current;
	struct actor *actor = &engine->actors[me];
	struct sim_event *event;
	struct word *word;

	step_await_turn(engine, SIM_SLEEP, offset, true);
	event = step_begin(engine, me,
			   (struct sim_event){
				   .kind = SIM_SLEEP,
				   .size = 4,
				   .offset = offset,
				   .place = place,
				   .before = history_peek(engine, offset, 4),
				   .after = expected,
			   });
	/* The kernel's look is a load: what the sleeper loads next is not older. */
	word = history_word(engine, offset, 4);
	history_note_sight(engine, me, word, engine->stores[word->newest].number);
	step_end(engine, event);
	actor->left_asleep = false;
	if (event->before != expected)
		return -EAGAIN;
	actor->state = ACTOR_ASLEEP;
	actor->slept_on = offset;
	/* Somebody wakes it, or its bound is reached with nobody else to go on. */
	step_await_turn(engine, SIM_SLEEP, offset, true);
	return actor->left_asleep ? -ETIMEDOUT : 0;
}

static long wake(struct sim_engine *engine, uint32_t offset, uint32_t count, const void *place)
{
	struct sim_event *event;
	uint32_t woken = 0;

	step_await_turn(engine, SIM_WAKE, offset, true);
	event = step_begin(
		engine, (uint32_t)engine->current,
		(struct sim_event){.kind = SIM_WAKE, .size = 4, .offset = offset, .place = place});
	for (uint32_t i = 0; i < engine->setup.actors && woken < count; i++) {
		struct actor *actor = &engine->actors[i];

		if (actor->state != ACTOR_ASLEEP || actor->slept_on != offset)
			continue;
		actor->state = ACTOR_READY;
		woken++;
	}
	event->after = woken;
	step_end(engine, event);
	return woken;
}

long sim_syscall(long number, ...)
{
	struct sim_engine *engine = execution_of_actor();
	const void *address;
	va_list arguments;
	uint32_t offset, value;
	int operation;

	va_start(arguments, number);
	address = va_arg(arguments, void *);
	operation = va_arg(arguments, int);
	value = va_arg(arguments, uint32_t);
	va_end(arguments);
	if (!engine)
		return 0;
	if (number != SYS_futex)
		sim_fail(SYSTEM_CALL, (uint64_t)number);
	offset = execution_offset(engine, address);
	if (offset == NONE)
		sim_fail(SLEEPS_ON_PRIVATE);
	if (operation == FUTEX_WAIT)
		return sleep_on(engine, offset, value, __builtin_return_address(0));
	return wake(engine, offset, value, __builtin_return_address(0));
}

/* Whoever spins has seen that it cannot go on before somebody writes. */
void zcrx_pause_hook(void)
{
	struct sim_engine *engine = execution_of_actor();
	struct actor *actor;

	if (!engine)
		return;
	actor = &engine->actors[engine->current];
	if (actor->last_word == NONE)
		return;
	actor->is_waiting = true;
	actor->waits_for = actor->last_word;
	actor->waits_since = actor->last_number;
}

int sim_sched_yield(void)
{
	zcrx_pause_hook();
	return 0;
}

/* Time stands still: what only a clock would end has to end otherwise. */
int sim_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){.tv_sec = 1};
	return 0;
}
