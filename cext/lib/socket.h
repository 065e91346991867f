/* SPDX-License-Identifier: MIT */
/*
 * Sockets: what has arrived and no receive has taken. One that waits in a buffer of the area
 * holds a page-pool reference of it.
 */
#ifndef ZCRX_LIB_SOCKET_H
#define ZCRX_LIB_SOCKET_H

#include "instance.h"

#define FLOW_BUCKETS 256U

/* What waits: in a buffer of the area, or beside it. */
struct zcrx_lib_waiting {
	struct zcrx_lib_waiting *next;
	struct zcrx_lib_ifq *queue;
	uint32_t niov;
	uint32_t at; /* in the buffer, or in `bytes` */
	uint32_t length; /* what is left of it */
	bool is_copy;
	bool is_linear; /* a copy of a packet's head: nobody is told of it */
	bool is_repeated; /* its sender sent it once, and it came twice */
	bool meets_full; /* by a plan: the first receive that comes to it has no room */
	uint8_t bytes[]; /* of a copy */
};

struct zcrx_lib_flow {
	struct zcrx_lib_flow *next; /* of the bucket */
	uint32_t id;
	bool is_ended; /* by its sender */
	bool is_reset; /* and not in order */
	bool is_abandoned; /* its last receive ended by an error that passes */
	uint32_t error; /* which */
	uint32_t zcrx_id; /* of that receive */
	uint64_t left; /* bytes in its real socket, where it has one */
	struct zcrx_lib_waiting *first, **end;
};

/* The flow of that number. NULL: there is none, and none can be, or shall be, made. */
struct zcrx_lib_flow *zcrx_lib_flow_of(struct zcrx_emu *emu, uint32_t id, bool make);
/* One more waits there; of a copy the bytes are yet to be filled in. NULL: no memory. */
struct zcrx_lib_waiting *zcrx_lib_flow_add(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
					   struct zcrx_lib_flow *flow, uint32_t length,
					   bool is_copy);
/* The first one waits no more; its reference is the caller's. */
void zcrx_lib_flow_pass(struct zcrx_emu *emu, struct zcrx_lib_flow *flow);
/* All that waits is given up. */
void zcrx_lib_flow_clear(struct zcrx_emu *emu, struct zcrx_lib_flow *flow);
/* What waits from this link on is given up: how many bytes. */
int64_t zcrx_lib_flow_cut(struct zcrx_emu *emu, struct zcrx_lib_flow *flow,
			  struct zcrx_lib_waiting **from);
/* All that waits goes back to its sender: how many bytes. */
int64_t zcrx_lib_flow_withdraw(struct zcrx_emu *emu, uint32_t id);
/* All that waits is given up, of all flows, and they are gone. */
void zcrx_lib_flows_free(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_SOCKET_H */
