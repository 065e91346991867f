/* SPDX-License-Identifier: MIT */
#include "execution.h"

struct sim_engine *execution_now;

void execution_leave(struct sim_engine *engine)
{
	fiber_switch(&engine->actors[engine->current].fiber, &engine->main);
	__builtin_trap();
}
