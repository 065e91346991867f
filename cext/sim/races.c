/* SPDX-License-Identifier: MIT */
#include "races.h"
#include "written.h"

#include <string.h>

static struct shadow *shadow_at(struct sim_engine *engine, uint32_t offset)
{
	struct shadow *shadow = &engine->shadows[offset];

	if (shadow->epoch != engine->epoch) {
		memset(shadow, 0, sizeof(*shadow));
		shadow->epoch = engine->epoch;
		shadow->writer = shadow->atomic_writer = SIM_ACTORS_MAX;
	}
	return shadow;
}

/* One side of a race, and where it is if no step says so. */
struct touch {
	enum sim_touch how;
	const void *place;
};

static void report(struct sim_engine *engine, uint32_t offset, struct touch mine, uint32_t other,
		   struct touch theirs)
{
	sim_report((struct sim_finding){
		.found = SIM_FOUND_DATA_RACE,
		.offset = offset,
		.numbers = {mine.how, (uint64_t)engine->current, other, theirs.how},
		.place = mine.place,
		.other_place = theirs.place,
	});
}

static void check_writer(struct sim_engine *engine, uint32_t offset, struct touch mine,
			 uint32_t writer, uint32_t time)
{
	const struct shadow *shadow = &engine->shadows[offset];

	if (actor_knows(&engine->actors[engine->current], writer, time))
		return;
	report(engine, offset, mine, writer,
	       (struct touch){SIM_WRITE, writer == shadow->writer ? shadow->write_place : NULL});
}

static void check_readers(struct sim_engine *engine, uint32_t offset, struct touch mine,
			  enum sim_touch theirs)
{
	const struct actor *actor = &engine->actors[engine->current];
	const struct shadow *shadow = &engine->shadows[offset];

	for (uint32_t other = 0; other < engine->setup.actors; other++) {
		if (!actor_knows(actor, other, shadow->read_times[other]))
			report(engine, offset, mine, other,
			       (struct touch){theirs, shadow->read_places[other]});
	}
}

static bool is_ordered(const struct sim_engine *engine, uint32_t offset)
{
	for (uint32_t i = 0; i < engine->setup.ordered_count; i++) {
		if (offset - engine->setup.ordered[i].offset < engine->setup.ordered[i].size)
			return true;
	}
	return false;
}

static void check_plain_at(struct sim_engine *engine, uint32_t offset, bool writes,
			   struct touch mine)
{
	uint32_t me = (uint32_t)engine->current;
	uint32_t now = engine->actors[me].clock.at[me];
	struct shadow *shadow = shadow_at(engine, offset);

	check_writer(engine, offset, mine, shadow->writer, shadow->write_time);
	check_writer(engine, offset, mine, shadow->atomic_writer, shadow->atomic_time);
	if (!writes) {
		shadow->read_times[me] = now;
		shadow->read_places[me] = mine.place;
		return;
	}
	check_readers(engine, offset, mine, SIM_READ);
	shadow->writer = me;
	shadow->write_time = now;
	shadow->write_place = mine.place;
}

void races_show(struct sim_engine *engine, uint32_t offset, bool writes, uint64_t before,
		uint64_t after)
{
	struct sim_access access = {offset, writes, before, after};

	if (engine->setup.access)
		engine->setup.access(engine->setup.context, (uint32_t)engine->current, &access);
}

/* Time passes for an actor with each step, and with each plain access too: they have no step. */
void races_check_plain(const volatile void *address, size_t size, bool writes, const void *place)
{
	struct sim_engine *engine = execution_of_actor();
	uint32_t offset;

	if (writes)
		written_note(address, size);
	if (!engine)
		return;
	offset = execution_offset(engine, address);
	if (offset == NONE)
		return;
	races_show(engine, offset, writes, 0, 0);
	/* Four bytes at a time; what is smaller is alone. */
	for (size_t at = 0; at < size; at += 4) {
		uint32_t here = offset + (uint32_t)at;
		enum sim_touch how = is_ordered(engine, here) ?
					     (writes ? SIM_WRITE : SIM_READ) :
					     (writes ? SIM_PLAIN_WRITE : SIM_PLAIN_READ);

		check_plain_at(engine, here, writes, (struct touch){how, place});
	}
}

void races_check_atomic_store(struct sim_engine *engine, uint32_t offset)
{
	uint32_t me = (uint32_t)engine->current;
	struct shadow *shadow = shadow_at(engine, offset);
	struct touch mine = {SIM_ATOMIC_STORE, NULL}; /* the last step is the place */

	check_writer(engine, offset, mine, shadow->writer, shadow->write_time);
	check_readers(engine, offset, mine, SIM_PLAIN_READ);
	shadow->atomic_writer = me;
	shadow->atomic_time = engine->actors[me].clock.at[me];
}

void races_check_atomic_load(struct sim_engine *engine, uint32_t offset)
{
	const struct shadow *shadow = shadow_at(engine, offset);

	check_writer(engine, offset, (struct touch){SIM_ATOMIC_LOAD, NULL}, shadow->writer,
		     shadow->write_time);
}

void races_check_load(struct sim_engine *engine, uint32_t offset, const void *place)
{
	if (is_ordered(engine, offset))
		check_plain_at(engine, offset, false, (struct touch){SIM_READ, place});
	else
		races_check_atomic_load(engine, offset);
}

void races_check_store(struct sim_engine *engine, uint32_t offset, const void *place)
{
	if (is_ordered(engine, offset))
		check_plain_at(engine, offset, true, (struct touch){SIM_WRITE, place});
	else
		races_check_atomic_store(engine, offset);
}
