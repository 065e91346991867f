/* SPDX-License-Identifier: MIT */
/* What each operation of a scenario does. */
#ifndef ZCRX_SIM_OPERATIONS_H
#define ZCRX_SIM_OPERATIONS_H

#include "world.h"

void operations_do(struct world_view *view, const struct script_op *op);
void operations_do_all(struct world_view *view, const struct script *script);

#endif /* ZCRX_SIM_OPERATIONS_H */
