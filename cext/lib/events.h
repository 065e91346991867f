/* SPDX-License-Identifier: MIT */
/*
 * What a queue tells the ring that registered it beside data: that the NIC was given no
 * buffer, and that a fragment was copied. Each kind once, until it is armed again.
 */
#ifndef ZCRX_LIB_EVENTS_H
#define ZCRX_LIB_EVENTS_H

#include "instance.h"

/* Is the description one? 0 or -errno. */
int zcrx_lib_events_check(struct zcrx_emu *emu, const struct zcrx_event_desc *desc);
/* The queue has a region by now: events are told to the ring. 0 or -errno. */
int zcrx_lib_events_start(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
			  const struct zcrx_event_desc *desc, uint32_t rq_entries);
/* The ring is gone: nobody is told any more. */
void zcrx_lib_events_forget(struct zcrx_emu *emu);

void zcrx_lib_event(struct zcrx_lib_ifq *queue, enum zcrx_event_type type);
/* A fragment was copied, so many bytes of it. */
void zcrx_lib_event_copied(struct zcrx_lib_ifq *queue, uint32_t size);
/* The program asks to be told once more. 0 or -errno. */
int zcrx_lib_event_arm(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
		       const struct zcrx_ctrl *ctrl);
/* Complete what is due to this ring; how many completions. */
uint32_t zcrx_lib_events_post(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_EVENTS_H */
