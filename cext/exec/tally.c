/* SPDX-License-Identifier: MIT */
#include "tally.h"

#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "ring.h"

#define REPORTS_MAX 1000U /* of a kind, that are told one by one */
#define JOURNALS_MAX 64U
#define PIECE 1024U

void tally_report(struct ring *ring, const struct zcrx_emu_report *report)
{
	struct kernel *kernel = ring->kernel;

	if (kernel->tally.found[report->kind]++ >= REPORTS_MAX)
		return;
	message_report(kernel->control, report, ring->number, kernel->call ? kernel->call->tid : 0,
		       kernel->call ? kernel->call->nr : -1);
}

void tally_refusal(struct ring *ring, int error)
{
	struct kernel *kernel = ring->kernel;

	if (kernel->tally.refusals++ < REPORTS_MAX)
		message_refusal(kernel->control, ring->number, kernel->task->tid, error,
				zcrx_emu_why(ring->emu));
}

static void tell_journal(struct ring *ring)
{
	size_t size = zcrx_emu_journal(ring->emu, NULL, 0) + 1;
	char *text = malloc(size), piece[PIECE + 1];

	if (!text)
		return;
	zcrx_emu_journal(ring->emu, text, size);
	for (size_t at = 0; at < size - 1; at += PIECE) {
		size_t length = size - 1 - at < PIECE ? size - 1 - at : PIECE;

		memcpy(piece, text + at, length);
		piece[length] = 0;
		message_journal(ring->kernel->control, ring->number, piece);
	}
	free(text);
}

void tally_ring(struct ring *ring)
{
	struct tally *tally = &ring->kernel->tally;

	if (zcrx_emu_fired(ring->emu, NULL) == 0)
		return;
	for (uint32_t i = 0; i < TALLY_FAULTS_MAX && zcrx_emu_fault(i); i++)
		tally->fired[i] += zcrx_emu_fired(ring->emu, zcrx_emu_fault(i));
	if (tally->journals++ < JOURNALS_MAX)
		tell_journal(ring);
}

void tally_all(const struct tally *tally, int control)
{
	for (uint32_t kind = 0; kind < ZCRX_EMU_KINDS; kind++) {
		if (tally->found[kind])
			message_sum(control, "found", zcrx_emu_kind_name(kind), tally->found[kind]);
	}
	for (uint32_t i = 0; i < TALLY_FAULTS_MAX && zcrx_emu_fault(i); i++) {
		if (tally->fired[i])
			message_sum(control, "fired", zcrx_emu_fault(i), tally->fired[i]);
	}
}
