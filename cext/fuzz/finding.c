/* SPDX-License-Identifier: MIT */
#include "finding.h"
#include "kernel/provider.h"

#include <inttypes.h>

#define FINDING_KEY(name, key) key,
static const char *const kind_keys[FUZZ_FINDING_KINDS] = {"nothing", FUZZ_FINDINGS(FINDING_KEY)};
#define WRONG_NAME(name, kind) #name,
static const char *const wrong_names[WRONG_COUNT] = {"NOTHING", FUZZ_WRONGS(WRONG_NAME)};
#define WRONG_KIND(name, kind) FUZZ_FOUND_##kind,
static const uint8_t kinds[WRONG_COUNT] = {FUZZ_NOTHING, FUZZ_WRONGS(WRONG_KIND)};

enum fuzz_finding_kind fuzz_finding_kind(const struct fuzz_finding *finding)
{
	return kinds[finding->what];
}

uint32_t fuzz_finding_key(const struct fuzz_finding *finding)
{
	enum fuzz_finding_kind kind = fuzz_finding_kind(finding);

	if (kind == FUZZ_FOUND_VERDICT)
		return (uint32_t)kind << 16 | (uint32_t)finding->expected.values[0] << 8 |
		       (uint32_t)finding->actual.values[0];
	return (uint32_t)kind << 16 | finding->op;
}

static void put_values(FILE *to, const char *name, const struct fuzz_values *values)
{
	fprintf(to, "\t%s=", name);
	for (uint32_t i = 0; i < values->count; i++)
		fprintf(to, i ? " %" PRIu64 : "%" PRIu64, values->values[i]);
}

void fuzz_put_finding(FILE *to, const struct fuzz_finding *finding)
{
	fprintf(to, "\tstep=%u\tkind=%s\twhat=%s\top=%s\tround=%u\twhich=%u\tniov=%u",
		finding->step, kind_keys[fuzz_finding_kind(finding)], wrong_names[finding->what],
		fuzz_words[finding->op], finding->round, finding->which, finding->niov);
	put_values(to, "expected", &finding->expected);
	put_values(to, "actual", &finding->actual);
}

/* ---- in a line ------------------------------------------------------------------- */

static const char *verdict_of(const struct fuzz_values *values)
{
	static const char *const names[ZCRX_VERDICT_COUNT] = {
		[ZCRX_ACCEPTED] = "accepted",	    [ZCRX_STILL_REFERENCED] = "still_referenced",
		[ZCRX_OTHER_POOL] = "other_pool",   [ZCRX_BAD_PAD] = "bad_pad",
		[ZCRX_BAD_AREA] = "bad_area",	    [ZCRX_BAD_INDEX] = "bad_index",
		[ZCRX_NO_USER_REF] = "no_user_ref",
	};

	return values->values[0] < ZCRX_VERDICT_COUNT ? names[values->values[0]] : "?";
}

void fuzz_put_signature(FILE *to, const struct fuzz_finding *finding)
{
	enum fuzz_finding_kind kind = fuzz_finding_kind(finding);

	if (kind == FUZZ_FOUND_VERDICT)
		fprintf(to, "%s:%s:%s", kind_keys[kind], verdict_of(&finding->expected),
			verdict_of(&finding->actual));
	else
		fprintf(to, "%s:%s", kind_keys[kind], fuzz_words[finding->op]);
}
