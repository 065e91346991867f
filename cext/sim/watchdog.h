/* SPDX-License-Identifier: MIT */
/* What does not come back by itself: a crash, a failed assertion, an actor without steps. */
#ifndef ZCRX_SIM_WATCHDOG_H
#define ZCRX_SIM_WATCHDOG_H

#include "search.h"

/* From now on each of these is a finding; before there is an engine, the setup's end. */
void watchdog_start(const struct search *search);
/* Before the engine goes: it is looked at now and then. */
void watchdog_stop(void);

#endif /* ZCRX_SIM_WATCHDOG_H */
