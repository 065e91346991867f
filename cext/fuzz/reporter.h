/* SPDX-License-Identifier: MIT */
/*
 * Where a fuzzing process leaves what it found, whatever engine drives it. The
 * process goes on afterwards; what it cannot survive stands in a file that it
 * shares with whoever watches it: the program that it was running.
 */
#ifndef ZCRX_FUZZ_REPORTER_H
#define ZCRX_FUZZ_REPORTER_H

#include "run.h"

#define REPORTER_MISTAKES_MAX 256U
/* Programs of one mistake that a folder takes. */
#define REPORTER_KEPT_MAX 8U
#define REPORTER_FATAL_MAX 1024U

#define REPORTER_HISTORY_BYTES (1U << 18)

/*
 * The file of the program that is being run, and of those before it: as many as
 * have room, each with its size (u32) before its bytes, in two halves that are
 * written in turn. The newest one stands last in the half that is written now.
 */
struct fuzz_current {
	uint64_t executions;
	uint64_t findings; /* of all kinds, each time */
	uint32_t size; /* 0 while nothing runs */
	uint32_t half; /* of the history, that is written now */
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	uint32_t used[2]; /* bytes of each half */
	uint8_t history[2][REPORTER_HISTORY_BYTES];
};

/* A program that ended a process like us. */
struct fuzz_fatal {
	uint32_t size;
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
};

struct fuzz_reporter {
	struct fuzz_runner runner;
	const struct fuzz_program *program; /* that is being run */
	const char *folder; /* for findings; NULL = a finding ends the process */
	struct fuzz_current *current;
	struct fuzz_current own; /* when nobody shares it */
	uint32_t mistakes[REPORTER_MISTAKES_MAX]; /* by fuzz_finding_key() */
	uint32_t seen[REPORTER_MISTAKES_MAX]; /* how often each was */
	uint32_t mistake_count;
	uint32_t kept_count;
	struct fuzz_fatal fatal[REPORTER_FATAL_MAX];
	uint32_t fatal_count;
};

/*
 * The reporter is zeros so far: it has room for large instances, which is not touched for nothing.
 *
 * A finding is kept as three files: NAME.program, NAME.before with the programs that
 * ran before it in this process, as in the history, and NAME.said, a record of it.
 *
 * By the environment: ZCRX_FUZZ_PROVIDER a library in the place of our provider,
 * ZCRX_FUZZ_FINDINGS a folder for new findings, ZCRX_FUZZ_CURRENT the shared file,
 * ZCRX_FUZZ_FATAL a folder of programs that are not to be run,
 * ZCRX_FUZZ_PARENT the pid of our parent, with whom we are to die.
 * Ends the process with a line and code 2 when something of that is no use.
 */
void sink_open(struct fuzz_reporter *reporter);

/* Run one program, which is what the bytes are; true if nothing was found. */
bool sink_run(struct fuzz_reporter *reporter, const struct fuzz_program *program,
	      const uint8_t *bytes, size_t size);

#endif /* ZCRX_FUZZ_REPORTER_H */
