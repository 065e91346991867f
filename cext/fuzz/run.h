/* SPDX-License-Identifier: MIT */
/*
 * Running a program: each operation is done by the instance and by the judge,
 * and whatever differs afterwards is a finding.
 */
#ifndef ZCRX_FUZZ_RUN_H
#define ZCRX_FUZZ_RUN_H

#include "finding.h"
#include "subject.h"

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
	uint32_t added_max; /* see fuzz_added_max() */
	bool is_passing; /* within a repetition: the next round does the same again */
	bool is_quick; /* everything is compared now and then only */
	uint32_t unlooked; /* operations since everything was compared, if is_quick */
	uint32_t *progress; /* if not NULL: the operation that is being done */
};

/*
 * Run a program from its start; true if nothing was found. Everything is compared after each
 * operation; if is_quick, what was answered, what entries earned and the locks, and everything
 * now and then and at the end: what else is wrong shows later then.
 */
bool fuzz_run(struct fuzz_runner *runner, const struct fuzz_program *program);

#endif /* ZCRX_FUZZ_RUN_H */
