/* SPDX-License-Identifier: MIT */
/*
 * What is told of all rings together, however many there are and however much was found: each
 * kind's first reports, and how many there were; what each fault of the plan did, and how often.
 */
#ifndef EXEC_TALLY_H
#define EXEC_TALLY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/zcrx_emu.h"

#define TALLY_FAULTS_MAX 64U

struct tally {
	uint64_t found[ZCRX_EMU_KINDS];
	uint64_t fired[TALLY_FAULTS_MAX]; /* by zcrx_emu_fault()'s number */
	uint32_t journals; /* that were told */
	uint64_t refusals;
};

struct ring;

/* Something was found. */
void tally_report(struct ring *ring, const struct zcrx_emu_report *report);
/* A registration was refused. */
void tally_refusal(struct ring *ring, int error);
/* A ring ends: what its plan did is told. */
void tally_ring(struct ring *ring);
/* All have ended: the sums are told. */
void tally_all(const struct tally *tally, int control);

#endif /* EXEC_TALLY_H */
