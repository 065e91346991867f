/* SPDX-License-Identifier: MIT */
/*
 * Python's reader of plans is the other one; tests/faults/test_plan_text.py holds that the
 * two make the same rules of the same text, and refuse the same.
 */
#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_MAX 65536U
#define QUEUES_MAX 64U
#define FLOWS_MAX (1U << 24)
#define COUNT_MAX 4096U
#define NEVER ZCRX_FAULT_NEVER

#define NONE {{NULL, 0, 0, 0}}
#define ONE(...)                    \
	{                           \
		{                   \
			__VA_ARGS__ \
		}                   \
	}
#define COUNT {"count", 16, 1, COUNT_MAX}

static const struct zcrx_lib_fault faults[] = {
	{"nic-drop", ZCRX_FAULT_NIC_DROP, ZCRX_LIB_NIC, NONE, false},
	{"nic-corrupt", ZCRX_FAULT_NIC_CORRUPT, ZCRX_LIB_NIC, NONE, false},
	{"nic-duplicate", ZCRX_FAULT_NIC_DUPLICATE, ZCRX_LIB_NIC, NONE, false},
	{"nic-reorder", ZCRX_FAULT_NIC_REORDER, ZCRX_LIB_NIC, ONE("distance", 3, 1, 63), false},
	{"nic-truncate", ZCRX_FAULT_NIC_TRUNCATE, ZCRX_LIB_NIC, ONE("keep", 16, 1, 65535), false},
	{"nic-hold",
	 ZCRX_FAULT_NIC_HOLD,
	 ZCRX_LIB_NIC,
	 {COUNT, {"packets", 256, 1, 1000000}},
	 false},
	{"nic-tiny", ZCRX_FAULT_NIC_TINY, ZCRX_LIB_NIC, ONE("fragments", 64, 2, 1024), false},
	{"cq-full", ZCRX_FAULT_CQ_FULL, ZCRX_LIB_NIC, NONE, false},
	{"conn-reset", ZCRX_LIB_FAULT_CONN_RESET, ZCRX_LIB_NIC, NONE, false},
	{"alloc-fail", ZCRX_FAULT_ALLOC_FAIL, ZCRX_LIB_PROVIDER, {COUNT}, false},
	{"freelist-empty", ZCRX_FAULT_FREELIST_EMPTY, ZCRX_LIB_PROVIDER, {COUNT}, false},
	{"rq-late", ZCRX_LIB_FAULT_RQ_LATE, ZCRX_LIB_PROVIDER, ONE("count", 16, 1, UINT32_MAX),
	 false},
	{"queue-restart", ZCRX_LIB_FAULT_QUEUE_RESTART, ZCRX_LIB_QUEUE, NONE, false},
	{"scrub-midway", ZCRX_LIB_FAULT_SCRUB_MIDWAY, ZCRX_LIB_QUEUE, NONE, false},
	{"recv-late", ZCRX_LIB_FAULT_RECV_LATE, ZCRX_LIB_RING, ONE("steps", 4, 1, COUNT_MAX),
	 false},
	{"tiny-area", ZCRX_LIB_FAULT_TINY_AREA, ZCRX_LIB_SETUP, ONE("buffers", 2, 1, UINT32_MAX),
	 true},
	{"setup-fail", ZCRX_LIB_FAULT_SETUP_FAIL, ZCRX_LIB_SETUP, NONE, false},
	{"register-fail", ZCRX_LIB_FAULT_REGISTER_FAIL, ZCRX_LIB_REGISTER,
	 ONE("errno", EOPNOTSUPP, 1, 133), false},
	{"short-multishot", ZCRX_LIB_FAULT_SHORT_MULTISHOT, ZCRX_LIB_ARM,
	 ONE("completions", 1, 1, UINT32_MAX), false},
	{"copy-fail", ZCRX_LIB_FAULT_COPY_FAIL, ZCRX_LIB_COPY, NONE, false},
	{"cq-overflow", ZCRX_LIB_FAULT_CQ_OVERFLOW, ZCRX_LIB_POST, NONE, false},
	{"eintr", ZCRX_LIB_FAULT_EINTR, ZCRX_LIB_WAIT, NONE, false},
};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

const struct zcrx_lib_fault *zcrx_lib_fault_at(uint32_t number)
{
	return number < FAULTS ? &faults[number] : NULL;
}

/* ---- what went wrong ------------------------------------------------------------------- */

/* A stretch of the text. */
struct piece {
	const char *at;
	size_t length;
};

/* The rule that is being read. */
struct reader {
	char *error;
	size_t size;
	uint32_t rule; /* its number, from 1; 0: the plan has but one */
	const struct zcrx_lib_fault *fault; /* NULL: not known yet */
};

/* A value as it was written, fit for a line. */
struct shown {
	char text[48];
};

static struct shown show(struct piece piece)
{
	struct shown shown;
	size_t most = sizeof(shown.text) - 6, length = piece.length < most ? piece.length : most;

	shown.text[0] = '\'';
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)piece.at[i];

		shown.text[1 + i] = byte >= ' ' && byte < 0x7f ? (char)byte : '?';
	}
	snprintf(shown.text + 1 + length, 5, "%s'", length < piece.length ? "..." : "");
	return shown;
}

static int refuse(const struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct reader *reader, const char *format, ...)
{
	size_t used = 0;
	va_list arguments;
	int count;

	count = snprintf(reader->error, reader->size, "plan: ");
	used += (size_t)count;
	if (reader->rule && used < reader->size) {
		count = snprintf(reader->error + used, reader->size - used,
				 "rule %u: ", reader->rule);
		used += (size_t)count;
	}
	if (reader->fault && used < reader->size) {
		count = snprintf(reader->error + used, reader->size - used,
				 "%s: ", reader->fault->name);
		used += (size_t)count;
	}
	if (used < reader->size) {
		va_start(arguments, format);
		vsnprintf(reader->error + used, reader->size - used, format, arguments);
		va_end(arguments);
	}
	return -EINVAL;
}

#define REFUSE_VALUE(reader, field, piece, ...) \
	refuse_value((reader), (field), (piece), ALLOWED(__VA_ARGS__))
#define ALLOWED(...) (snprintf(allowed, sizeof(allowed), __VA_ARGS__), allowed)

static int refuse_value(const struct reader *reader, const char *field, struct piece piece,
			const char *allowed)
{
	return refuse(reader, "%s: %s is not allowed; it must be %s", field, show(piece).text,
		      allowed);
}

/* ---- pieces ------------------------------------------------------------------------------ */

static bool is_space(char byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct piece trimmed(struct piece piece)
{
	while (piece.length && is_space(piece.at[0])) {
		piece.at++;
		piece.length--;
	}
	while (piece.length && is_space(piece.at[piece.length - 1]))
		piece.length--;
	return piece;
}

static bool is(struct piece piece, const char *word)
{
	return word && strlen(word) == piece.length && memcmp(piece.at, word, piece.length) == 0;
}

/* What is before the next `separator`, trimmed; `rest` goes on behind it. False: there was none. */
static bool cut(struct piece *rest, char separator, struct piece *piece)
{
	const char *end = memchr(rest->at, separator, rest->length);

	*piece = *rest;
	if (end) {
		piece->length = (size_t)(end - rest->at);
		rest->length -= piece->length + 1;
		rest->at = end + 1;
	} else {
		rest->at += rest->length;
		rest->length = 0;
	}
	*piece = trimmed(*piece);
	return end != NULL;
}

/* ---- values ------------------------------------------------------------------------------ */

static bool read_number(struct piece piece, uint64_t *value)
{
	*value = 0;
	if (piece.length == 0 || piece.length > 20)
		return false;
	for (size_t i = 0; i < piece.length; i++) {
		uint64_t digit = (uint64_t)(piece.at[i] - '0');

		if (piece.at[i] < '0' || piece.at[i] > '9' || *value > (UINT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return true;
}

static int read_whole(const struct reader *reader, const char *field, struct piece piece,
		      uint64_t low, uint64_t high, uint64_t *value)
{
	char allowed[80];

	if (read_number(piece, value) && *value >= low && *value <= high)
		return 0;
	return REFUSE_VALUE(reader, field, piece, "a whole number of %llu to %llu",
			    (unsigned long long)low, (unsigned long long)high);
}

/* By the C locale, whatever the program's: a comma is ours. */
static bool read_decimal(struct piece piece, double *value)
{
	char text[64], *end;
	locale_t plain;

	if (piece.length == 0 || piece.length >= sizeof(text) ||
	    strspn(piece.at, "0123456789.eE+-") < piece.length)
		return false;
	memcpy(text, piece.at, piece.length);
	text[piece.length] = '\0';
	plain = newlocale(LC_ALL_MASK, "C", NULL);
	if (!plain)
		return false;
	*value = strtod_l(text, &end, plain);
	freelocale(plain);
	return end == text + piece.length;
}

static int read_probability(const struct reader *reader, struct piece piece, double *value)
{
	struct piece digits = piece;
	bool is_percent = piece.length && piece.at[piece.length - 1] == '%';

	if (is_percent) {
		digits.length--;
		digits = trimmed(digits);
	}
	if (!read_decimal(digits, value))
		return refuse(reader,
			      "%s is not a probability; it must be a number from 0 to 1, or 0%% to "
			      "100%%",
			      show(piece).text);
	if (is_percent)
		*value /= 100;
	if (!(*value >= 0 && *value <= 1))
		return refuse(reader,
			      "probability %s is out of range; it must be a number from 0 to 1, or "
			      "0%% to 100%%",
			      show(piece).text);
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

	return (one > other) - (one < other);
}

/* `list` is the caller's to free, also after an error. */
static int read_ordinals(const struct reader *reader, struct piece text,
			 struct zcrx_fault_rule *rule, uint64_t **list)
{
	uint32_t count = 1, done = 0;
	bool goes_on = true;

	for (size_t i = 0; i < text.length; i++)
		count += text.at[i] == '+';
	if (count > AT_MAX)
		return refuse(reader, "at: %u ordinals are not allowed; there must be 1 to %u",
			      count, AT_MAX);
	*list = malloc(count * sizeof(**list));
	if (!*list)
		return -ENOMEM;
	while (goes_on) {
		struct piece piece;
		int error;

		goes_on = cut(&text, '+', &piece);
		error = read_whole(reader, "at", piece, 0, NEVER - 1, &(*list)[done++]);
		if (error)
			return error;
	}
	qsort(*list, count, sizeof(**list), by_size);
	for (uint32_t i = 1; i < count; i++) {
		if ((*list)[i] == (*list)[i - 1])
			return refuse(reader, "at: %llu is given twice; give it once",
				      (unsigned long long)(*list)[i]);
	}
	rule->at = (*list)[0];
	if (count > 1) {
		rule->at_list = *list;
		rule->at_count = count;
	}
	return 0;
}

/* ---- a rule -------------------------------------------------------------------------------- */

/* What a rule may say, and the parameters of its fault. */
enum field {
	P,
	EVERY,
	AT,
	FROM,
	UNTIL,
	LIMIT,
	ONCE,
	AFTER,
	QUEUE,
	FLOW,
	PARAM,
	FIELDS = PARAM + ZCRX_LIB_PARAMS,
};

static const char *const names[PARAM] = {"p",	  "every", "at",    "from",  "until",
					 "limit", "once",  "after", "queue", "flow"};

#define KNOWN "p, every, at, from, until, limit, once, after, queue, flow"

struct said {
	bool is[FIELDS];
	struct piece value[FIELDS];
};

static enum field field_of(const struct reader *reader, struct piece key)
{
	for (uint32_t field = P; field < PARAM; field++) {
		if (field != ONCE && is(key, names[field]))
			return (enum field)field;
	}
	for (uint32_t at = 0; at < ZCRX_LIB_PARAMS; at++) {
		if (is(key, reader->fault->params[at].name))
			return (enum field)(PARAM + at);
	}
	return FIELDS;
}

static const char *name_of(const struct reader *reader, enum field field)
{
	return field < PARAM ? names[field] : reader->fault->params[field - PARAM].name;
}

static int refuse_key(const struct reader *reader, struct piece key)
{
	const struct zcrx_lib_param *params = reader->fault->params;

	return refuse(reader, "%s is neither a field nor a parameter; known are " KNOWN "%s%s%s%s",
		      show(key).text, params[0].name ? ", " : "",
		      params[0].name ? params[0].name : "", params[1].name ? ", " : "",
		      params[1].name ? params[1].name : "");
}

static int read_item(const struct reader *reader, struct piece item, struct said *said)
{
	struct piece value = item, key;
	enum field field = P;

	if (is(item, names[ONCE])) {
		field = ONCE;
	} else if (cut(&value, '=', &key)) {
		field = field_of(reader, key);
		value = trimmed(value);
		if (field == FIELDS)
			return refuse_key(reader, key);
	} else {
		value = item;
	}
	if (said->is[field])
		return refuse(reader, "%s is given twice; give it once", name_of(reader, field));
	said->is[field] = true;
	said->value[field] = value;
	return 0;
}

static int read_items(const struct reader *reader, struct piece rest, struct said *said)
{
	bool goes_on = true;

	while (goes_on) {
		struct piece item;
		int error;

		goes_on = cut(&rest, ':', &item);
		error = read_item(reader, item, said);
		if (error)
			return error;
	}
	return 0;
}

static int check_triggers(const struct reader *reader, const struct said *said)
{
	switch (said->is[P] + said->is[EVERY] + said->is[AT]) {
	case 0:
		return refuse(reader,
			      "it has no trigger; write %s:0.01 (a probability), every=N or at=N",
			      reader->fault->name);
	case 1:
		break;
	default:
		return refuse(reader, "it has two triggers; give a probability, every or at");
	}
	if (said->is[ONCE] && said->is[LIMIT])
		return refuse(reader, "it has once and limit; give one of them");
	return 0;
}

static int check_scopes(const struct reader *reader, const struct said *said)
{
	if (said->is[QUEUE] && reader->fault->actor >= ZCRX_LIB_RING)
		return refuse(reader, "queue: it concerns all queues; leave queue out");
	if (said->is[FLOW] && reader->fault->actor != ZCRX_LIB_NIC)
		return refuse(reader, "flow: it is about no flow; leave flow out");
	return 0;
}

static int check_window(const struct reader *reader, const struct zcrx_fault_rule *rule,
			const uint64_t *list)
{
	uint32_t count = rule->at_count ? rule->at_count : rule->at != NEVER;

	if (rule->first > rule->last)
		return refuse(reader, "from: %llu is not allowed; it must be at most until, %llu",
			      (unsigned long long)rule->first, (unsigned long long)rule->last);
	for (uint32_t i = 0; i < count; i++) {
		if (list[i] < rule->first || list[i] > rule->last)
			return refuse(
				reader,
				"at: %llu is not allowed; it must be %llu to %llu, as from and "
				"until say",
				(unsigned long long)list[i], (unsigned long long)rule->first,
				(unsigned long long)rule->last);
	}
	return 0;
}

static int check_asked_once(const struct reader *reader, const struct zcrx_fault_rule *rule,
			    const struct said *said)
{
	if (!reader->fault->is_asked_once)
		return 0;
	if ((rule->at != NEVER && (rule->at || rule->at_count)) || rule->first)
		return refuse(reader,
			      "at, from: must be 0: it is asked once, when a queue is registered");
	if (said->is[AFTER])
		return refuse(reader, "after: it is asked before all others; leave after out");
	return 0;
}

/* One number, if it was said. */
static int take_number(const struct reader *reader, const struct said *said, enum field field,
		       uint64_t low, uint64_t high, uint64_t *value)
{
	if (!said->is[field])
		return 0;
	return read_whole(reader, name_of(reader, field), said->value[field], low, high, value);
}

static int take_params(const struct reader *reader, const struct said *said,
		       struct zcrx_fault_rule *rule)
{
	int error = 0;

	for (uint32_t at = 0; !error && at < ZCRX_LIB_PARAMS; at++) {
		const struct zcrx_lib_param *param = &reader->fault->params[at];
		uint64_t value = param->preset;

		error = take_number(reader, said, (enum field)(PARAM + at), param->low, param->high,
				    &value);
		rule->params[at] = (uint32_t)value;
	}
	return error;
}

static int take_numbers(const struct reader *reader, const struct said *said,
			struct zcrx_fault_rule *rule)
{
	uint64_t queue = 0, flow = 0;
	int error = take_number(reader, said, EVERY, 1, UINT64_MAX, &rule->every);

	if (!error)
		error = take_number(reader, said, FROM, 0, UINT64_MAX, &rule->first);
	if (!error)
		error = take_number(reader, said, UNTIL, 0, UINT64_MAX, &rule->last);
	if (!error)
		error = take_number(reader, said, LIMIT, 1, UINT64_MAX, &rule->limit);
	if (!error)
		error = take_number(reader, said, QUEUE, 0, QUEUES_MAX - 1, &queue);
	if (!error)
		error = take_number(reader, said, FLOW, 0, FLOWS_MAX - 1, &flow);
	if (!error)
		error = take_params(reader, said, rule);
	if (said->is[ONCE])
		rule->limit = 1;
	if (said->is[QUEUE])
		rule->queue = (int32_t)queue;
	if (said->is[FLOW])
		rule->flow = (uint32_t)flow + 1;
	return error;
}

static int make_rule(const struct reader *reader, const struct said *said,
		     struct zcrx_fault_rule *rule, uint64_t **list)
{
	int error = check_triggers(reader, said);

	*rule = (struct zcrx_fault_rule){
		.kind = reader->fault->kind,
		.at = NEVER,
		.last = UINT64_MAX,
		.queue = -1,
	};
	if (!error)
		error = take_numbers(reader, said, rule);
	if (!error && said->is[P])
		error = read_probability(reader, said->value[P], &rule->probability);
	if (!error && said->is[AT])
		error = read_ordinals(reader, said->value[AT], rule, list);
	if (!error)
		error = check_scopes(reader, said);
	if (!error)
		error = check_window(reader, rule, *list);
	return error ? error : check_asked_once(reader, rule, said);
}

static int unknown_fault(struct reader *reader, struct piece name)
{
	char known[512];
	size_t used = 0;

	for (uint32_t i = 0; i < FAULTS && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 faults[i].name);
	return refuse(reader, "%s is no fault of the library; it has %s", show(name).text, known);
}

static int read_rule(struct zcrx_lib_plan *plan, struct reader *reader, struct piece text,
		     struct piece *after)
{
	uint32_t at = plan->count;
	struct said said = {0};
	struct piece name;
	bool has_items = cut(&text, ':', &name);
	int error;

	reader->fault = NULL;
	if (name.length == 0)
		return refuse(reader, "a rule is empty; write NAME:PROBABILITY,...");
	for (uint32_t i = 0; i < FAULTS; i++) {
		if (is(name, faults[i].name))
			reader->fault = &faults[i];
	}
	if (!reader->fault)
		return unknown_fault(reader, name);
	plan->faults[at] = reader->fault;
	plan->lists[at] = NULL;
	plan->count++;
	error = has_items ? read_items(reader, text, &said) : 0;
	if (!error)
		error = make_rule(reader, &said, &plan->rules[at], &plan->lists[at]);
	*after = said.is[AFTER] ? said.value[AFTER] : (struct piece){NULL, 0};
	return error;
}

/* ---- the plan --------------------------------------------------------------------------------- */

/* The number of a fault's first rule + 1; 0: it has none. */
static uint32_t first_rule(const struct zcrx_lib_plan *plan, struct piece name)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		if (is(name, plan->faults[i]->name))
			return i + 1;
	}
	return 0;
}

static int check_after(const struct zcrx_lib_plan *plan, const struct reader *reader, uint32_t rule,
		       struct piece name)
{
	uint32_t other = first_rule(plan, name);

	if (is(name, reader->fault->name))
		return refuse(reader, "after: %s is the rule's own fault; name another one",
			      show(name).text);
	if (!other)
		return refuse(reader, "after: %s is no fault of this plan; name one that it has",
			      show(name).text);
	if (plan->faults[other - 1]->actor != reader->fault->actor)
		return refuse(reader,
			      "after: %s counts something else; name a fault of the same ordinals",
			      show(name).text);
	/* As many steps as there are rules lead anywhere that they lead at all. */
	for (uint32_t steps = 0; other && steps < plan->count; steps++) {
		if (other == rule + 1)
			return refuse(reader,
				      "after: %s waits for this rule in turn, so neither can ever "
				      "fire",
				      show(name).text);
		other = plan->rules[other - 1].after;
	}
	return 0;
}

static int resolve_afters(struct zcrx_lib_plan *plan, struct reader *reader,
			  const struct piece *afters)
{
	bool has_many = plan->count > 1;

	for (uint32_t i = 0; i < plan->count; i++)
		plan->rules[i].after = afters[i].at ? first_rule(plan, afters[i]) : 0;
	for (uint32_t i = 0; i < plan->count; i++) {
		int error;

		reader->rule = has_many ? i + 1 : 0;
		reader->fault = plan->faults[i];
		error = afters[i].at ? check_after(plan, reader, i, afters[i]) : 0;
		if (error)
			return error;
	}
	return 0;
}

static int read_rules(struct zcrx_lib_plan *plan, struct reader *reader, struct piece text,
		      struct piece *afters)
{
	bool has_many = memchr(text.at, ',', text.length) != NULL, goes_on = true;

	for (uint32_t number = 0; goes_on; number++) {
		struct piece part;
		int error;

		reader->rule = has_many ? number + 1 : 0;
		reader->fault = NULL;
		if (number == ZCRX_FAULT_RULES_MAX)
			return refuse(reader, "that many rules are too many; at most %u",
				      ZCRX_FAULT_RULES_MAX);
		goes_on = cut(&text, ',', &part);
		error = read_rule(plan, reader, part, &afters[number]);
		if (error)
			return error;
	}
	return resolve_afters(plan, reader, afters);
}

int zcrx_lib_plan_parse(struct zcrx_lib_plan *plan, const char *text, char *error, size_t size)
{
	struct piece all = trimmed((struct piece){text, strlen(text)});
	struct reader reader = {.error = error, .size = size};
	struct piece *afters;
	int result;

	plan->count = 0;
	if (all.length == 0 || is(all, "none"))
		return 0;
	afters = calloc(ZCRX_FAULT_RULES_MAX, sizeof(*afters));
	if (!afters)
		return -ENOMEM;
	result = read_rules(plan, &reader, all, afters);
	free(afters);
	if (result)
		zcrx_lib_plan_free(plan);
	return result;
}

void zcrx_lib_plan_free(struct zcrx_lib_plan *plan)
{
	for (uint32_t i = 0; i < plan->count; i++)
		free(plan->lists[i]);
	plan->count = 0;
}
