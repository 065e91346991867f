/* SPDX-License-Identifier: MIT */
/*
 * Running a program: each operation is done by the instance and by the judge,
 * and whatever differs afterwards is a finding.
 */
#ifndef ZCRX_FUZZ_RUN_H
#define ZCRX_FUZZ_RUN_H

#include "subject.h"

/* X(NAME, word); what each means is in emu/fuzz/program.py. */
#define FUZZ_FINDINGS(X)            \
	X(RESULT, "result")         \
	X(VERDICT, "verdict")       \
	X(NIOV, "niov")             \
	X(ALIAS, "alias")           \
	X(CONSUMED, "consumed")     \
	X(READ_TWICE, "read-twice") \
	X(READ_LATE, "read-late")   \
	X(UNLOCKED, "unlocked")     \
	X(HEAD, "head")             \
	X(USER_REFS, "user-refs")   \
	X(PP_REFS, "pp-refs")       \
	X(BINDING, "binding")       \
	X(FREELIST, "freelist")     \
	X(CACHE, "cache")           \
	X(PTR_RING, "ptr-ring")     \
	X(POOL, "pool")             \
	X(COUNTER, "counter")       \
	X(LOCK, "lock")             \
	X(LOG, "verdict-log")       \
	X(RED_ZONE, "red-zone")

enum fuzz_finding_kind {
	FUZZ_NOTHING,
#define FUZZ_FINDING_ENUM(name, word) FUZZ_FOUND_##name,
	FUZZ_FINDINGS(FUZZ_FINDING_ENUM)
#undef FUZZ_FINDING_ENUM
		FUZZ_FINDING_KINDS,
};

extern const char *const fuzz_finding_words[FUZZ_FINDING_KINDS];

#define FUZZ_WORDS 160U
#define FUZZ_SIGNATURE 64U

struct fuzz_finding {
	enum fuzz_finding_kind kind;
	uint32_t step; /* the operation after which it showed */
	char signature[FUZZ_SIGNATURE]; /* same mistake, same signature, as a rule */
	char what[FUZZ_WORDS], expected[FUZZ_WORDS], actual[FUZZ_WORDS];
};

#define FUZZ_RESULTS_MAX 512U

/* What one operation answered, call by call. */
struct fuzz_results {
	int64_t values[FUZZ_RESULTS_MAX];
	uint32_t count;
};

struct fuzz_runner {
	const struct zcrx_provider_ops *ops; /* of somebody else's provider, or NULL */
	struct fuzz_subject subjects[FUZZ_QUEUES_MAX];
	struct judge judges[FUZZ_QUEUES_MAX];
	struct fuzz_results expected, actual; /* of this operation */
	struct fuzz_finding finding;
	/* Called after each operation if not NULL; the finding is there if it was the last. */
	void (*after)(struct fuzz_runner *runner, const struct fuzz_program *program,
		      uint32_t step);
	void *context; /* the callback's own */
	uint32_t work_left; /* for repetitions */
	uint32_t rounds; /* of the last one */
	bool is_passing; /* within a repetition: the next round does the same again */
	bool is_quick; /* after most operations only what they may have changed is compared */
	uint32_t *progress; /* if not NULL: the operation that is being done */
};

/*
 * Run a program from its start; true if nothing was found. Everything is compared after each
 * operation, or, if is_quick, what the operation may have changed, and everything now and then
 * and at the end: what was changed by mistake elsewhere shows later then.
 */
bool fuzz_run(struct fuzz_runner *runner, const struct fuzz_program *program);

#endif /* ZCRX_FUZZ_RUN_H */
