/* SPDX-License-Identifier: MIT */
/*
 * libzcrx_emu: the kernel's side of io_uring zero-copy receive (zcrx), in your own
 * process, behind the structs that the kernel itself takes, and with a checker that
 * says what your program does wrong.
 *
 * One `struct zcrx_emu` stands for one io_uring ring. You register an interface queue
 * with it as with the kernel, say which completion queue is the ring's, arm receives,
 * deliver bytes as a NIC would, and write returned buffers into your refill ring. No
 * Python, no privileges, no NIC, no thread unless you ask for one. Instances have nothing in
 * common but what they are told to have: see struct zcrx_emu_machine.
 *
 *	cc test.c $(pkg-config --cflags --libs zcrx_emu)
 *
 * Functions return 0 or a count, and -errno otherwise; zcrx_emu_why() then says in words
 * what was refused and what is allowed. Where a number is the kernel's (registration,
 * the results of completions), it is the one that the kernel of the chosen level gives.
 *
 * Threads: every function may be called by any thread at any time; with
 * IORING_SETUP_SINGLE_ISSUER (1 << 12) among the ring's flags, registering and arming by the
 * one that made the instance alone, else -EEXIST. An instance must not be used during its
 * zcrx_emu_destroy(); afterwards all answers -EBADF (until 64 more were destroyed, from when on
 * the pointer may be another one's). The refill ring and the completion queue are shared memory,
 * as with the kernel: load and store their heads and tails by acquire and release. Callbacks run
 * inside of the call that caused them: they may arm receives, end flows and ask for counts and
 * reports. What else they call answers -EBUSY, and the instance is not destroyed by them.
 */
#ifndef ZCRX_EMU_H
#define ZCRX_EMU_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ZCRX_EMU_API __attribute__((visibility("default")))
#else
#define ZCRX_EMU_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The kernel's struct: from <linux/io_uring.h>, liburing's header, or zcrx_emu_uapi.h. */
struct io_uring_zcrx_ifq_reg;

struct zcrx_emu;

/* A completion: struct io_uring_cqe, and struct io_uring_zcrx_cqe behind it. */
struct zcrx_emu_cqe {
	uint64_t user_data;
	int32_t res; /* bytes, or -errno, or 0 at the end */
	uint32_t flags; /* IORING_CQE_F_MORE (2): the receive goes on; see zcrx_emu_set_cq() */
	uint64_t off; /* area id << 48 | offset in the area */
	uint64_t pad; /* 0 */
};

/* ---- what the checker says -------------------------------------------------------- */

enum zcrx_emu_kind {
	ZCRX_EMU_BAD_PAD, /* an entry whose __pad is not 0 */
	ZCRX_EMU_BAD_AREA, /* an entry of an area that there is not */
	ZCRX_EMU_BAD_INDEX, /* an entry behind the area's end */
	ZCRX_EMU_ALIAS, /* an offset too large, cut by the kernel until it named a buffer */
	ZCRX_EMU_PRIMED, /* buffers returned before any was given: this is no fill ring */
	ZCRX_EMU_NEVER_GIVEN, /* a buffer returned that had not been given */
	ZCRX_EMU_TWICE, /* more returns of a buffer than fragments of it were given */
	ZCRX_EMU_STALE, /* the entry is older than the fragment whose reference it took */
	ZCRX_EMU_EARLY, /* a fragment returned again while others of its buffer are out */
	ZCRX_EMU_RING_OVERRUN, /* more entries published than the refill ring has */
	ZCRX_EMU_TAIL_BACK, /* the refill ring's tail was moved back */
	ZCRX_EMU_HEAD_WRITTEN, /* the refill ring's head was written: it is the kernel's */
	ZCRX_EMU_HEADER_WRITTEN, /* something else in its header was: offsets guessed, not read */
	ZCRX_EMU_CQ_HEAD, /* the completion queue's head is ahead of its tail */
	ZCRX_EMU_CQ_OVERFLOW, /* completions wait for room at the end */
	ZCRX_EMU_NOT_ARMED, /* a receive ended by an error that passes, data waits, none was armed */
	ZCRX_EMU_NOT_RETURNED, /* a fragment was never returned */
	ZCRX_EMU_HEAD_UNREAD, /* more entries than the ring has, counted from the head that is there */
	ZCRX_EMU_ENTRY_LATE, /* an entry that was written after the tail that publishes it */
	ZCRX_EMU_WRITTEN, /* a buffer was written that had been returned */
	ZCRX_EMU_STANDING, /* the NIC's descriptors want more buffers than the area has */
	ZCRX_EMU_EXPORT_OPEN, /* a descriptor that an export gave was left open */
	ZCRX_EMU_MEMORY_GONE, /* area or ring unmapped, or others mapped there, while it is in use */
	ZCRX_EMU_KINDS
};

struct zcrx_emu_report {
	uint32_t kind; /* enum zcrx_emu_kind */
	uint32_t zcrx_id;
	uint32_t entry; /* index of the refill ring entry (not masked), if it is about one */
	uint32_t niov; /* the buffer, if it is about one */
	uint64_t completion; /* the completion (counted from 1) that gave it; 0: none */
	uint32_t flow; /* whose bytes that were */
	uint32_t age_ms; /* since that completion was given, as of now; 0: it is about none */
	const char *name; /* of the kind: "bad-pad" */
	const char *text; /* what happened, one sentence */
	const char *advice; /* what to do about it */
};

/* "bad-pad" …; NULL for what is no kind. */
ZCRX_EMU_API const char *zcrx_emu_kind_name(uint32_t kind);

/* ---- an instance ------------------------------------------------------------------ */

/* Bytes that are read or written together with others: no two of one call overlap. */
struct zcrx_emu_piece {
	void *here; /* is only read if the piece is written */
	uint64_t there;
	size_t size;
};

#define ZCRX_EMU_PIECES_MAX 64U /* of one call */

/*
 * The program's memory, where that is not ours: each address that the kernel would be
 * given goes through these. 0 or -errno. `read` and `write` are required.
 */
struct zcrx_emu_memory {
	void *context;
	int (*read)(void *context, void *to, uint64_t from, size_t size);
	int (*write)(void *context, uint64_t to, const void *from, size_t size);
	/* May this much be used as area or ring? -EFAULT if not. NULL: yes. */
	int (*pin)(void *context, uint64_t address, uint64_t size);
	/*
	 * The same memory, in this process, for as long as the instance lives, and queues that it
	 * registered are used by others; NULL: cannot be.
	 */
	void *(*map)(void *context, uint64_t address, uint64_t size);
	/*
	 * Many pieces by one call, whatever is done first; -EFAULT if not all of it could be. NULL:
	 * each is a call of the above.
	 */
	int (*read_pieces)(void *context, const struct zcrx_emu_piece *pieces, uint32_t count);
	int (*write_pieces)(void *context, const struct zcrx_emu_piece *pieces, uint32_t count);
};

/*
 * The program's descriptors, where it is another process. All but `remove` is required.
 */
struct zcrx_emu_descriptors {
	void *context;
	/* The program gets one for what `fd` is here, which stays ours. Its number there, or -errno. */
	int (*install)(void *context, int fd);
	/* One of ours for what the program calls `fd`: we close it. -errno if it has none. */
	int (*fetch)(void *context, int fd);
	/* The program was not told of it after all. NULL: it keeps it. */
	void (*remove)(void *context, int fd);
};

/*
 * What several rings have in common that share an interface queue: registered by one and
 * exported (ZCRX_CTRL_EXPORT), it is imported by others (ZCRX_REG_IMPORT). A ring that was
 * made without a machine has one of its own. Of what is said of threads and callbacks an
 * instance is all rings of a machine.
 */
struct zcrx_emu_machine;
ZCRX_EMU_API int zcrx_emu_machine_create(struct zcrx_emu_machine **machine);
/* -EBUSY while it has rings, -EBADF if it was destroyed. Descriptors that stand for queues of it stand for nothing then. */
ZCRX_EMU_API int zcrx_emu_machine_destroy(struct zcrx_emu_machine *machine);

#define ZCRX_EMU_NO_CHECK 1U /* no ledger, no reports */
#define ZCRX_EMU_NO_POISON 2U /* leave the bytes of returned buffers as they are */
#define ZCRX_EMU_EAGER 4U /* each step judges all that waits in the refill rings */
/*
 * A refill ring's head is published two steps after its entries were judged (at once by
 * zcrx_emu_drain(), zcrx_emu_finish() and a flush): who never reads it overruns what it can see.
 */
#define ZCRX_EMU_LATE_HEAD 8U
/*
 * Buffers that wait in the refill ring when something is delivered are judged and filled before
 * others, while they are in caches. In memory that is written by pieces those are not poisoned
 * in between where new bytes stand then: whoever looks finds them as they were returned, full of
 * poison, or filled anew.
 */
#define ZCRX_EMU_HOT 16U

struct io_uring_query_opcode;

struct zcrx_emu_options {
	size_t size; /* sizeof(struct zcrx_emu_options): what is behind it is 0 */
	const char *kernel; /* the level that is played; NULL: "seed" */
	uint64_t seed; /* of all that is chosen at random */
	/* What the ring was made with: IORING_SETUP_…; 0: as zcrx needs it. */
	uint32_t ring_flags;
	uint32_t flags; /* ZCRX_EMU_… */
	const struct zcrx_emu_memory *memory; /* NULL: this process's own; copied */
	void *context; /* of the callbacks */
	/* A completion, where there is no queue (zcrx_emu_set_cq()). Not 0: no room for it. */
	int (*on_cqe)(void *context, const struct zcrx_emu_cqe *cqe);
	/* The checker has something to say, as it happens; NULL: read it at the end. */
	void (*on_report)(void *context, const struct zcrx_emu_report *report);
	uint8_t poison; /* the byte; 0: 0xdb */
	uint8_t reserved[7];
	struct zcrx_emu_machine *machine; /* whose kernel the ring is of; NULL: its own */
	const struct zcrx_emu_descriptors *descriptors; /* NULL: this process's own; copied */
	/*
	 * The NIC of queues that this ring registers: in each receive descriptor stand as many
	 * buffers as a packet may need, and are refilled after each. 0: none stand, a buffer is
	 * taken when a packet comes. `mtu`: 0: 1500 for what stands, and no packet is cut.
	 */
	uint32_t rx_descriptors, mtu;
	/*
	 * Memory for a region that is the kernel's, all zero, where the program is another process:
	 * mapped here by mmap(2), and unmapped when it is not needed; the program maps it at
	 * `offset` of its ring. NULL: this process's own, see zcrx_emu_mmap().
	 */
	void *(*share)(void *context, uint64_t size, uint64_t *offset);
	/*
	 * For programs that should meet little of everything: buffers of a queue's first area that
	 * are ever used, entries of a refill ring (a power of two: fewer than asked for is what the
	 * registration answers then). 0: as the program has them.
	 */
	uint32_t buffers_max, rq_entries_max;
	/*
	 * What a query says that your ring has besides zcrx (IO_URING_QUERY_OPCODES), but for how
	 * many queries there are; it stays where it is. NULL: that cannot be asked.
	 */
	const struct io_uring_query_opcode *opcodes;
};

/* The levels that this build plays, from 0 on; NULL behind the last. */
ZCRX_EMU_API const char *zcrx_emu_level(uint32_t index);
ZCRX_EMU_API const char *zcrx_emu_version(void);

/*
 * `options` may be NULL. 0, -EINVAL (unknown level, flag or size; another level than the
 * machine's other rings have), -EBADF (a machine that was destroyed), -ENOMEM.
 */
ZCRX_EMU_API int zcrx_emu_create(const struct zcrx_emu_options *options, struct zcrx_emu **emu);
/* The ring is closed: all references are taken back. No report is made: see zcrx_emu_finish(). */
ZCRX_EMU_API void zcrx_emu_destroy(struct zcrx_emu *emu);
/* Why the last call that failed did; "" if none has. Valid until the next that fails. */
ZCRX_EMU_API const char *zcrx_emu_why(const struct zcrx_emu *emu);

/* ---- registering ------------------------------------------------------------------ */

/* io_uring_register(2) of this ring: ZCRX_IFQ (32), QUERY (35), ZCRX_CTRL (36). 0 or -errno. */
ZCRX_EMU_API int zcrx_emu_register(struct zcrx_emu *emu, uint32_t opcode, void *arg,
				   uint32_t nr_args);
/* The same for ZCRX_IFQ, as liburing calls it. */
ZCRX_EMU_API int zcrx_emu_register_ifq(struct zcrx_emu *emu, struct io_uring_zcrx_ifq_reg *reg);
/* mmap(2) of this ring: the region that registration gave an offset of. NULL if it is none. */
ZCRX_EMU_API void *zcrx_emu_mmap(struct zcrx_emu *emu, size_t size, uint64_t offset);

/*
 * The ring's completion queue: `entries` (a power of two) of 32 bytes. In a ring that was made
 * with IORING_SETUP_CQE_MIXED they have 16: a completion of data takes two in a row and says so
 * (IORING_CQE_F_32), and the ring's last entry is skipped (IORING_CQE_F_SKIP) where only one of
 * the two would find room.
 */
struct zcrx_emu_cq {
	uint32_t *head; /* yours */
	uint32_t *tail; /* ours; starts as it stands there */
	void *cqes;
	uint32_t entries;
	uint32_t *sq_flags; /* or NULL: IORING_SQ_CQ_OVERFLOW (2) is set while completions wait */
};
ZCRX_EMU_API int zcrx_emu_set_cq(struct zcrx_emu *emu, const struct zcrx_emu_cq *cq);
/*
 * The same by addresses of the program, which may be another process: see struct
 * zcrx_emu_memory. Each index is written by one call, and must be written whole. -EFAULT if
 * not all of it is there.
 */
struct zcrx_emu_cq_at {
	uint64_t head, tail, cqes;
	uint64_t sq_flags; /* 0: none */
	uint32_t entries;
	uint32_t reserved; /* 0 */
};
ZCRX_EMU_API int zcrx_emu_set_cq_at(struct zcrx_emu *emu, const struct zcrx_emu_cq_at *cq);
/* A completion of another request of the ring; one that finds no room waits, as with the kernel. */
ZCRX_EMU_API int zcrx_emu_post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe);

/* ---- receiving -------------------------------------------------------------------- */

/* A multishot IORING_OP_RECV_ZC; what is wrong with it is said by its one completion. */
struct zcrx_emu_recv {
	uint32_t zcrx_id;
	uint32_t flow; /* the socket: a number of your choice */
	uint64_t user_data;
	uint32_t limit; /* sqe->len: so many bytes at most; 0: no limit */
	uint32_t reserved;
};
ZCRX_EMU_API int zcrx_emu_arm(struct zcrx_emu *emu, const struct zcrx_emu_recv *recv);

/* How a NIC cuts a payload. All 0: whole buffers, nothing copied. */
struct zcrx_emu_shape {
	uint32_t fragment_min, fragment_max; /* bytes of one fragment; 0: what the buffer holds */
	uint32_t offset_min, offset_max; /* where the first one of a buffer begins */
	uint32_t per_buffer; /* fragments a buffer, at most; 0: 1 */
	uint32_t copy_percent; /* of the fragments: they land outside of the area, and are copied */
	/*
	 * Bytes at the head of each packet that are in no fragment: they are copied as well, and
	 * neither events nor statistics tell of it. A packet has as many bytes as the ring's `mtu`
	 * says; else it is all that one call brings.
	 */
	uint32_t linear_min, linear_max;
};

/*
 * Bytes of a flow arrive at the queue of `zcrx_id`. How many of them: fewer when the NIC
 * has no buffer left (it drops the rest, which is to be sent again). Completions come
 * with the next step. -ENXIO without such a queue, -EINVAL for an impossible shape.
 */
ZCRX_EMU_API int64_t zcrx_emu_deliver(struct zcrx_emu *emu, uint32_t zcrx_id, uint32_t flow,
				      const void *data, size_t size,
				      const struct zcrx_emu_shape *shape);
/* The flow's sender ends it: the receive ends with 0 when all bytes are read. */
ZCRX_EMU_API int zcrx_emu_end(struct zcrx_emu *emu, uint32_t flow);
/* How its last receive ended of those that ended by themselves: 0 or -errno. */
ZCRX_EMU_API int zcrx_emu_ended(struct zcrx_emu *emu, uint32_t flow);
/* Is a receive armed for it? */
ZCRX_EMU_API int zcrx_emu_is_armed(struct zcrx_emu *emu, uint32_t flow);
/* Its receives end with `error`: the socket's, or -ECANCELED. How many there were. */
ZCRX_EMU_API int zcrx_emu_fail(struct zcrx_emu *emu, uint32_t flow, int error);
/*
 * What of its bytes no completion was given for goes back to the sender: how many. For those
 * whose socket is a real one, which keeps what finds no room.
 */
ZCRX_EMU_API int64_t zcrx_emu_withdraw(struct zcrx_emu *emu, uint32_t flow);
/*
 * The memory of the area or of the refill ring is not there any more, or is another one, while the
 * flow's receive is armed: whoever holds the memory functions knows, and has it said.
 */
ZCRX_EMU_API int zcrx_emu_gone(struct zcrx_emu *emu, uint32_t zcrx_id, uint32_t flow);
/* So many bytes stand in its real socket: they count as what has arrived, when no receive takes them. */
ZCRX_EMU_API int zcrx_emu_left(struct zcrx_emu *emu, uint32_t flow, uint64_t bytes);
/* You close the flow's socket: what waits in it is gone, and so are its receives. */
ZCRX_EMU_API int zcrx_emu_close(struct zcrx_emu *emu, uint32_t flow);

/* ---- faults ------------------------------------------------------------------------ */

/*
 * What goes wrong from now on in the kernel's side of the ring, in the queues that it
 * registers and in their NIC: a plan by its text (docs/faults.md), drawn by the ring's seed.
 * NULL, "" or "none": nothing. It takes the place of the last one. -EINVAL, and `error` (of
 * `size` bytes; zcrx_emu_why() has it as well) is a line that names the rule, the value and
 * what is allowed.
 *
 *	zcrx_emu_plan(emu, "alloc-fail:1%,conn-reset:at=20", why, sizeof(why));
 *
 *	nic-drop, nic-corrupt, nic-duplicate, nic-reorder, nic-truncate, nic-hold, nic-tiny,
 *	cq-full, conn-reset					at packets of a queue
 *	alloc-fail, freelist-empty, rq-late			at allocations of a queue
 *	queue-restart, scrub-midway				at steps of the rings that use a queue
 *	recv-late						at steps of the ring
 *	setup-fail						at steps of registering
 *	register-fail						at registrations that are right
 *	tiny-area						when a queue is registered
 *	short-multishot						at receives that are armed
 *	copy-fail						at copies of the ring
 *	cq-overflow						at its completions without data
 *	eintr							at waits: see zcrx_emu_wait()
 */
ZCRX_EMU_API int zcrx_emu_plan(struct zcrx_emu *emu, const char *text, char *error, size_t size);
/* What has fired, as a plan that has it happen again at the same places; like snprintf(). */
ZCRX_EMU_API size_t zcrx_emu_journal(struct zcrx_emu *emu, char *to, size_t size);
/* The faults that a plan may name, from 0 on; NULL behind the last. */
ZCRX_EMU_API const char *zcrx_emu_fault(uint32_t index);
/* How often it has fired since the plan was given; NULL: all of the plan's. */
ZCRX_EMU_API uint64_t zcrx_emu_fired(struct zcrx_emu *emu, const char *fault);
/* The program has to wait for completions now: 0, or -EINTR where the plan has a signal end that. */
ZCRX_EMU_API int zcrx_emu_wait(struct zcrx_emu *emu);

/* ---- driving ---------------------------------------------------------------------- */

/* The kernel works until it has nothing to do; how many completions that made. */
ZCRX_EMU_API int zcrx_emu_step(struct zcrx_emu *emu);
/* Judge all that waits in the refill ring of `zcrx_id` now; how many entries. */
ZCRX_EMU_API int zcrx_emu_drain(struct zcrx_emu *emu, uint32_t zcrx_id);
/* A thread of ours steps from now on, until zcrx_emu_stop(). */
ZCRX_EMU_API int zcrx_emu_start(struct zcrx_emu *emu);
ZCRX_EMU_API int zcrx_emu_stop(struct zcrx_emu *emu);

/* ---- the end ---------------------------------------------------------------------- */

/*
 * The program is done: what waits in the refill rings is judged, and what it still holds
 * is reported. How many reports there are of all. To be called once, before destroying.
 */
ZCRX_EMU_API int zcrx_emu_finish(struct zcrx_emu *emu);
/*
 * The same of a program that has closed its ring already, and may use the memory for something
 * else: a refill ring is believed if its header is as it was; where that is all zero, as any
 * new memory's, buffers that are out must hold something. Others are not looked at. Its memory
 * functions should not write any more.
 */
ZCRX_EMU_API int zcrx_emu_finish_late(struct zcrx_emu *emu);
/* Reports so far: of a kind, or of all (ZCRX_EMU_KINDS). */
ZCRX_EMU_API uint64_t zcrx_emu_count(struct zcrx_emu *emu, uint32_t kind);
/* All of them, as text or as JSON, like snprintf(): the bytes needed without the last 0. */
ZCRX_EMU_API size_t zcrx_emu_report_text(struct zcrx_emu *emu, char *to, size_t size);
ZCRX_EMU_API size_t zcrx_emu_report_json(struct zcrx_emu *emu, char *to, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* ZCRX_EMU_H */
