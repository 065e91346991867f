/* SPDX-License-Identifier: MIT */
/*
 * What a plan of faults does to a ring and to the queues that it registered: asked where the
 * work is done, it says what goes wrong there, and notes it. Without a plan nothing is asked.
 */
#ifndef ZCRX_LIB_TROUBLE_H
#define ZCRX_LIB_TROUBLE_H

#include "instance.h"

/* What is done to one packet. */
struct zcrx_lib_packet {
	size_t most; /* bytes that are delivered, at most */
	uint32_t tiny; /* so many of the first come as fragments of one byte */
	uint32_t overtaken; /* it comes when so many others of the queue have */
	size_t flipped_at; /* a byte of it that is not as it was sent, if `flips` is not 0 */
	uint8_t flips; /* bits of that byte */
	bool is_twice; /* it comes once more, right after it */
	uint32_t held, held_for; /* so many buffers are held back, for so many packets */
	bool is_full; /* its first fragment finds no room in the completion queue */
	bool is_reset; /* its sender breaks the connection instead */
};

/* Another plan takes the place of the last one. 0; -EINVAL and a line; -ENOMEM. */
int zcrx_lib_trouble_plan(struct zcrx_emu *emu, const char *text, char *error, size_t size);
/* What fired, as a plan that has it happen again; like snprintf(). */
size_t zcrx_lib_trouble_journal(const struct zcrx_emu *emu, char *to, size_t size);
/* How often a fault has fired by this plan; NULL: any. */
uint64_t zcrx_lib_trouble_fired(const struct zcrx_emu *emu, const char *fault);
/* The ring is closed. */
void zcrx_lib_trouble_free(struct zcrx_emu *emu);

/* A queue of the ring's has been made, its number is the next one's: its part of the plan. 0 or -ENOMEM. */
int zcrx_lib_trouble_start(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue);
/* So few of its buffers are ever used. */
void zcrx_lib_trouble_shrink(struct zcrx_lib_ifq *queue, uint32_t buffers);
/* It is gone. */
void zcrx_lib_trouble_stop(struct zcrx_lib_ifq *queue);

/* Does this step of registering fail? */
bool zcrx_lib_trouble_setup(struct zcrx_emu *emu);
/* A registration is right: the errno by which it fails all the same, or 0. */
uint32_t zcrx_lib_trouble_register(struct zcrx_emu *emu);
/* A receive is armed: after so many completions it ends; 0: it does not. */
uint32_t zcrx_lib_trouble_arm(struct zcrx_emu *emu);
/* Does this copy find no buffer? */
bool zcrx_lib_trouble_copy(struct zcrx_emu *emu);
/* Does this completion find no room? */
bool zcrx_lib_trouble_post(struct zcrx_emu *emu);
/* Is this wait interrupted? */
bool zcrx_lib_trouble_wait(struct zcrx_emu *emu);
/* Does this allocation fail? */
bool zcrx_lib_trouble_alloc(struct zcrx_lib_ifq *queue);
/* Does it look into the refill ring? */
bool zcrx_lib_trouble_looks(struct zcrx_lib_ifq *queue);
/* A packet of that flow comes. */
struct zcrx_lib_packet zcrx_lib_trouble_packet(struct zcrx_lib_ifq *queue, uint32_t flow,
					       size_t size);
/* The queue has a turn: is its page pool replaced by another one? It is scrubbed, if it is to be. */
bool zcrx_lib_trouble_turn(struct zcrx_lib_ifq *queue);
/* Have receives their turn in this step? */
bool zcrx_lib_trouble_receives(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_TROUBLE_H */
