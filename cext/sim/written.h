/* SPDX-License-Identifier: MIT */
/* What an execution wrote is put back before the next one, and nothing else. */
#ifndef ZCRX_SIM_WRITTEN_H
#define ZCRX_SIM_WRITTEN_H

#include "execution.h"

/* Keep the memory as it is now; false without memory. */
bool written_open(struct sim_engine *engine);
void written_close(struct sim_engine *engine);
/* All instrumented code says where it writes, in private memory too. */
void written_note(const volatile void *address, size_t size);
void written_put_back(struct sim_engine *engine);

#endif /* ZCRX_SIM_WRITTEN_H */
