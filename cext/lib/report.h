/* SPDX-License-Identifier: MIT */
/* What the checker has to say: kept for the end, and told as it happens. */
#ifndef ZCRX_LIB_REPORT_H
#define ZCRX_LIB_REPORT_H

#include <stdbool.h>

#include "zcrx_emu.h"

struct zcrx_lib_note {
	struct zcrx_emu_report report;
	char text[256];
};

struct zcrx_lib_reports {
	struct zcrx_lib_note *notes;
	uint32_t count, capacity;
	uint64_t counts[ZCRX_EMU_KINDS]; /* those that were not kept, too */
	void *context;
	void (*on_report)(void *context, const struct zcrx_emu_report *report);
};

/* `about` says what it is about; its words are filled in here. */
void zcrx_lib_report(struct zcrx_lib_reports *reports, const struct zcrx_emu_report *about,
		     const char *format, ...) __attribute__((format(printf, 3, 4)));

uint64_t zcrx_lib_report_count(const struct zcrx_lib_reports *reports, uint32_t kind);
size_t zcrx_lib_reports_text(const struct zcrx_lib_reports *reports, char *to, size_t size);
size_t zcrx_lib_reports_json(const struct zcrx_lib_reports *reports, char *to, size_t size);
void zcrx_lib_reports_free(struct zcrx_lib_reports *reports);

#endif /* ZCRX_LIB_REPORT_H */
