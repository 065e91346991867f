/* SPDX-License-Identifier: MIT */
/*
 * Reads plans, a line each, and prints what the library makes of them: the rules in numbers,
 * `;` between them, or `!` and the error.
 */
#include "lib/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_rule(const struct zcrx_lib_plan *plan, uint32_t number)
{
	const struct zcrx_fault_rule *rule = &plan->rules[number];

	printf("%s%u %u %a %llu %llu %llu %llu %llu %d %u %u %u", number ? ";" : "", rule->kind,
	       rule->after, rule->probability, (unsigned long long)rule->every,
	       (unsigned long long)rule->at, (unsigned long long)rule->first,
	       (unsigned long long)rule->last, (unsigned long long)rule->limit, rule->queue,
	       rule->flow, rule->params[0], rule->params[1]);
	for (uint32_t i = 0; i < rule->at_count; i++)
		printf(" %llu", (unsigned long long)rule->at_list[i]);
}

/* What there is: name, number, what its ordinals count, its parameters. */
static void print_faults(void)
{
	const struct zcrx_lib_fault *fault;

	for (uint32_t i = 0; (fault = zcrx_lib_fault_at(i)); i++) {
		printf("%s %u %d %d", fault->name, fault->kind, fault->actor, fault->is_asked_once);
		for (uint32_t at = 0; at < ZCRX_LIB_PARAMS && fault->params[at].name; at++)
			printf(" %s=%u:%u:%u", fault->params[at].name, fault->params[at].preset,
			       fault->params[at].low, fault->params[at].high);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	static struct zcrx_lib_plan plan;
	char error[256], *line = NULL;
	size_t size = 0;
	ssize_t length;

	if (argc > 1 && strcmp(argv[1], "faults") == 0) {
		print_faults();
		return 0;
	}
	while ((length = getline(&line, &size, stdin)) > 0) {
		line[length - 1] = '\0';
		if (zcrx_lib_plan_parse(&plan, line, error, sizeof(error)))
			printf("!%s", error);
		for (uint32_t i = 0; i < plan.count; i++)
			print_rule(&plan, i);
		printf("\n");
		fflush(stdout);
		zcrx_lib_plan_free(&plan);
	}
	free(line);
	return 0;
}
