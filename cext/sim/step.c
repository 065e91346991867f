/* SPDX-License-Identifier: MIT */
#include "step.h"

void step_await_turn(struct sim_engine *engine, uint8_t kind, uint32_t offset, bool writes)
{
	struct actor *actor = &engine->actors[engine->current];

	actor->pending = (struct sim_pending){.kind = kind, .writes = writes, .offset = offset};
	fiber_switch(&actor->fiber, &engine->main);
}

struct sim_event *step_begin(struct sim_engine *engine, uint32_t actor, struct sim_event event)
{
	if (engine->steps == SIM_STEPS_MAX)
		sim_fail(TOO_MANY_STEPS, SIM_STEPS_MAX);
	event.actor = (uint8_t)actor;
	engine->events[engine->steps] = event;
	return &engine->events[engine->steps++];
}

static void mix(struct sim_engine *engine, uint64_t value)
{
	engine->hash = (engine->hash ^ value) * 0x100000001b3U;
}

void step_end(struct sim_engine *engine, const struct sim_event *event)
{
	mix(engine, (uint64_t)event->actor << 40 | (uint64_t)event->kind << 32 | event->offset);
	mix(engine, event->before);
	mix(engine, event->after);
	if (event->actor < engine->setup.actors)
		engine->actors[event->actor].clock.at[event->actor]++;
	if (engine->chooser->done)
		engine->chooser->done(engine->chooser, engine);
}
