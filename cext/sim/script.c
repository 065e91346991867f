/* SPDX-License-Identifier: MIT */
#include "script.h"

#include <inttypes.h>
#include <string.h>

static const char *const op_words[OP_COUNT] = {
#define SCRIPT_OP_WORD(name, word) word,
	SCRIPT_OPS(SCRIPT_OP_WORD)
#undef SCRIPT_OP_WORD
};

static bool read_op(struct script_op *op, FILE *file)
{
	char word[SCRIPT_NAME];

	if (fscanf(file, "%23s %" SCNu64 " %" SCNu64 " %" SCNu64, word, &op->numbers[0],
		   &op->numbers[1], &op->numbers[2]) != 4)
		return false;
	for (op->kind = 0; op->kind < OP_COUNT; op->kind++) {
		if (strcmp(op_words[op->kind], word) == 0)
			return true;
	}
	return false;
}

/* A name may be empty. */
static bool read_script(struct script *script, FILE *file)
{
	if (fscanf(file, "%" SCNu32 " =%23[^\n]", &script->count, script->name) < 1 ||
	    script->count > SCRIPT_OPS_MAX)
		return false;
	for (uint32_t i = 0; i < script->count; i++) {
		if (!read_op(&script->ops[i], file))
			return false;
	}
	return true;
}

/* One area, or one that others may be added to. False: so many buffers are too many. */
static bool set_areas(struct zcrx_shape *shape, uint32_t more)
{
	if (more > SCRIPT_NIOVS_MAX || shape->num_niovs > SCRIPT_NIOVS_MAX - more)
		return false;
	if (more == 0)
		return true;
	shape->areas_max = 1 + more;
	shape->areas = 1;
	shape->area_niovs[0] = shape->num_niovs;
	shape->num_niovs += more;
	return true;
}

bool script_read(struct scenario *scenario, FILE *file)
{
	struct zcrx_shape *shape = &scenario->shape;
	uint32_t honest, more;

	*shape = (struct zcrx_shape){.niov_shift = 12, .log_entries = 16, .flows_max = 1};
	if (fscanf(file,
		   "%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32
		   " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32,
		   &shape->num_niovs, &shape->rq_entries, &shape->cq_entries, &shape->grant_entries,
		   &shape->ptr_ring_size, &shape->initial_index, &more, &shape->contract.level,
		   &shape->contract.deviations, &honest, &scenario->actor_count) != 11 ||
	    scenario->actor_count == 0 || scenario->actor_count > SIM_ACTORS_MAX ||
	    !set_areas(shape, more))
		return false;
	scenario->is_honest = honest != 0;
	for (uint32_t i = 0; i < scenario->actor_count; i++) {
		if (!read_script(&scenario->actors[i], file))
			return false;
	}
	return read_script(&scenario->setup, file) && read_script(&scenario->end, file);
}
