/* SPDX-License-Identifier: MIT */
/* What of a plan has fired. */
#ifndef ZCRX_LIB_JOURNAL_H
#define ZCRX_LIB_JOURNAL_H

#include "plan.h"

struct zcrx_lib_fired {
	uint64_t ordinal;
	uint32_t queue;
	uint32_t rule;
};

struct zcrx_lib_journal {
	uint64_t counts[ZCRX_FAULT_RULES_MAX]; /* of each rule: all of its firings */
	struct zcrx_lib_fired *fired; /* in the order of firing; the first 16384 */
	uint32_t count, capacity;
};

void zcrx_lib_journal_note(struct zcrx_lib_journal *journal, uint32_t rule, uint32_t queue,
			   uint64_t ordinal);
/* As a plan that has it happen again, in a ring with so many queues; like snprintf(). */
size_t zcrx_lib_journal_text(const struct zcrx_lib_journal *journal,
			     const struct zcrx_lib_plan *plan, uint32_t queues, char *to,
			     size_t size);
void zcrx_lib_journal_free(struct zcrx_lib_journal *journal);

#endif /* ZCRX_LIB_JOURNAL_H */
