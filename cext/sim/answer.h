/* SPDX-License-Identifier: MIT */
/* What is said of a search: a record a line, a word and values by name. */
#ifndef ZCRX_SIM_ANSWER_H
#define ZCRX_SIM_ANSWER_H

#include "search.h"

/* The steps of the last execution. */
void answer_events(const struct search *search);
/* Those, and what they show, with the schedule that leads there. */
void answer_finding(const struct search *search, const struct explore_step *steps, uint32_t count);
/* The finding of the last execution by a schedule with few switches, if there is one. */
void answer_shortly(struct search *search);
void answer_end(const struct search *search, bool found);
/* Why there is no such scenario. */
void answer_refusal(struct world_refusal refusal);

#endif /* ZCRX_SIM_ANSWER_H */
