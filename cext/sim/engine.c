/* SPDX-License-Identifier: MIT */
/* An execution from its beginning to its end: who can go on, and what it is when nobody can. */
#include "access.h"
#include "history.h"
#include "written.h"

#include <stdlib.h>
#include <string.h>

static void live(void *argument)
{
	struct sim_engine *engine = execution_now;
	uint32_t number = (uint32_t)(uintptr_t)argument;
	struct actor *actor = &engine->actors[number];

	engine->setup.act(engine->setup.context, number);
	actor->state = ACTOR_OVER;
	execution_leave(engine);
}

static void resume(struct sim_engine *engine, uint32_t number)
{
	engine->current = (int)number;
	fiber_switch(&engine->main, &engine->actors[number].fiber);
	engine->current = -1;
}

static bool has_news(struct sim_engine *engine, const struct actor *actor)
{
	return engine->stores[history_word(engine, actor->waits_for, 4)->newest].number !=
	       actor->waits_since;
}

static bool is_enabled(struct sim_engine *engine, uint32_t number)
{
	struct actor *actor;

	if (number >= engine->setup.actors)
		return engine->actors[number - engine->setup.actors].buffered > 0;
	actor = &engine->actors[number];
	if (actor->state != ACTOR_READY || (actor->is_waiting && !has_news(engine, actor)))
		return false;
	/* TSO: an exchange and a fence wait for the buffer; so does a sleeper's system call. */
	return actor->buffered == 0 || actor->pending.kind == SIM_LOAD ||
	       actor->pending.kind == SIM_STORE;
}

static uint32_t enabled_now(struct sim_engine *engine)
{
	uint32_t enabled = 0;

	for (uint32_t i = 0; i < sim_actors(engine); i++) {
		if (is_enabled(engine, i))
			enabled |= 1U << i;
	}
	return enabled;
}

/* Nobody can go on: is it the end, does a sleeper's bound help, or is it a deadlock? */
static bool go_on(struct sim_engine *engine)
{
	uint32_t stuck = NONE;

	for (uint32_t i = 0; i < engine->setup.actors; i++) {
		struct actor *actor = &engine->actors[i];

		if (actor->state == ACTOR_ASLEEP) {
			actor->state = ACTOR_READY;
			actor->left_asleep = true;
			return true;
		}
		if (actor->state == ACTOR_READY)
			stuck = i;
	}
	if (stuck != NONE)
		sim_report((struct sim_finding){
			.found = SIM_FOUND_WAITS_FOR_EVER,
			.offset = engine->actors[stuck].waits_for,
			.numbers = {stuck},
		});
	return false;
}

static void begin(struct sim_engine *engine)
{
	written_put_back(engine);
	if (engine->setup.begin)
		engine->setup.begin(engine->setup.context);
	engine->epoch++;
	engine->store_count = engine->sight_count = engine->steps = 0;
	engine->finding = (struct sim_finding){.found = SIM_FOUND_NOTHING};
	engine->hash = 0xcbf29ce484222325U;
	engine->was_cut = false;
	memset(&engine->fences, 0, sizeof(engine->fences));
	for (uint32_t i = 0; i < engine->setup.actors; i++) {
		struct actor *actor = &engine->actors[i];
		struct fiber fiber = actor->fiber;

		memset(actor, 0, offsetof(struct actor, buffer));
		actor->buffered = 0;
		actor->fiber = fiber;
		actor->last_word = NONE;
		actor->clock.at[i] = 1;
		fiber_start(&actor->fiber, live, (void *)(uintptr_t)i);
	}
	/* Each up to its first step: what it does before concerns nobody. */
	for (uint32_t i = 0; i < engine->setup.actors && engine->finding.found == SIM_FOUND_NOTHING;
	     i++)
		resume(engine, i);
}

static bool take_step(struct sim_engine *engine)
{
	uint32_t enabled = enabled_now(engine);
	struct actor *actor;
	int chosen;

	if (!enabled)
		return go_on(engine);
	/* Before the choice: a chooser that keeps its steps has no room for more of them either. */
	if (engine->steps == SIM_STEPS_MAX) {
		sim_fail(TOO_MANY_STEPS, SIM_STEPS_MAX);
		return false;
	}
	chosen = engine->chooser->actor(engine->chooser, engine, enabled);
	if (chosen < 0 || !(enabled >> chosen & 1)) {
		engine->was_cut = true;
		return false;
	}
	if ((uint32_t)chosen >= engine->setup.actors) {
		access_drain(engine, (uint32_t)chosen - engine->setup.actors);
		return true;
	}
	actor = &engine->actors[chosen];
	actor->must_see_newest = actor->is_waiting;
	actor->is_waiting = false;
	resume(engine, (uint32_t)chosen);
	return true;
}

bool sim_execute(struct sim_engine *engine, struct sim_chooser *chooser)
{
	engine->chooser = chooser;
	execution_now = engine;
	begin(engine);
	while (engine->finding.found == SIM_FOUND_NOTHING && take_step(engine))
		;
	if (engine->finding.found == SIM_FOUND_NOTHING && !engine->was_cut)
		engine->setup.judge(engine->setup.context);
	execution_now = NULL;
	return engine->finding.found == SIM_FOUND_NOTHING;
}

struct sim_engine *sim_open(const struct sim_setup *setup)
{
	struct sim_engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return NULL;
	engine->setup = *setup;
	engine->current = -1;
	engine->words = calloc(setup->shared_size / 2 + 1, sizeof(*engine->words));
	/* One entry a byte: untouched pages cost nothing. */
	engine->shadows = calloc(setup->shared_size, sizeof(*engine->shadows));
	if (!written_open(engine) || !engine->words || !engine->shadows)
		goto out_close;
	for (uint32_t i = 0; i < setup->actors; i++) {
		if (fiber_make(&engine->actors[i].fiber))
			goto out_close;
	}
	return engine;

out_close:
	sim_close(engine);
	return NULL;
}

void sim_close(struct sim_engine *engine)
{
	if (!engine)
		return;
	for (uint32_t i = 0; i < SIM_ACTORS_MAX; i++)
		fiber_free(&engine->actors[i].fiber);
	written_close(engine);
	free(engine->words);
	free(engine->shadows);
	free(engine);
}

uint32_t sim_steps(const struct sim_engine *engine)
{
	return engine->steps;
}

const struct sim_event *sim_event(const struct sim_engine *engine, uint32_t step)
{
	return &engine->events[step];
}

const struct sim_finding *sim_finding(const struct sim_engine *engine)
{
	return &engine->finding;
}

uint64_t sim_trace_hash(const struct sim_engine *engine)
{
	return engine->hash;
}

bool sim_was_cut(const struct sim_engine *engine)
{
	return engine->was_cut;
}

uint32_t sim_actors(const struct sim_engine *engine)
{
	return engine->setup.memory == SIM_TSO ? 2 * engine->setup.actors : engine->setup.actors;
}

const struct sim_pending *sim_pending(const struct sim_engine *engine, uint32_t actor)
{
	static struct sim_pending drain;

	if (actor < engine->setup.actors)
		return &engine->actors[actor].pending;
	drain = (struct sim_pending){
		.kind = SIM_DRAIN,
		.writes = true,
		.offset = engine->actors[actor - engine->setup.actors].buffer[0].offset,
	};
	return &drain;
}

bool sim_depends(const struct sim_pending *one, const struct sim_pending *other)
{
	return one->offset == other->offset && (one->writes || other->writes);
}
