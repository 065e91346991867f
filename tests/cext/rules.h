/* SPDX-License-Identifier: MIT */
/*
 * Fault rules made in C. A rule that is all zeros is not one without limits:
 * "each queue", "until the end" and "at no ordinal" have numbers of their own.
 */
#ifndef RULES_H
#define RULES_H

#include "faults/fault.h"

/* Every ordinal of every queue, without a trigger yet. */
static inline struct zcrx_fault_rule rule_of(uint32_t kind)
{
	return (struct zcrx_fault_rule){
		.kind = kind,
		.at = ZCRX_FAULT_NEVER,
		.last = ZCRX_FAULT_NEVER,
		.queue = -1,
	};
}

static inline struct zcrx_fault_rule rule_likely(uint32_t kind, double probability)
{
	struct zcrx_fault_rule rule = rule_of(kind);

	rule.probability = probability;
	return rule;
}

static inline struct zcrx_fault_rule rule_every(uint32_t kind, uint64_t every)
{
	struct zcrx_fault_rule rule = rule_of(kind);

	rule.every = every;
	return rule;
}

static inline struct zcrx_fault_rule rule_at(uint32_t kind, uint64_t at)
{
	struct zcrx_fault_rule rule = rule_of(kind);

	rule.at = at;
	return rule;
}

/* Once at each of these ordinals, which outlive the rule. */
static inline struct zcrx_fault_rule rule_listed(uint32_t kind, const uint64_t *list,
						 uint32_t count)
{
	struct zcrx_fault_rule rule = rule_of(kind);

	rule.at_list = list;
	rule.at_count = count;
	return rule;
}

/* Once, at an ordinal, with the kind's first parameter. */
static inline struct zcrx_fault_rule rule_with(uint32_t kind, uint64_t at, uint32_t param)
{
	struct zcrx_fault_rule rule = rule_at(kind, at);

	rule.params[0] = param;
	return rule;
}

#endif /* RULES_H */
