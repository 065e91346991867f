# SPDX-License-Identifier: MIT
"""Generate the C source of the extension module ``emu._core`` (cffi, API mode, abi3).

Run by the build with the path of the file to write. What is declared here is
all that Python can reach; the headers beside this file have the contracts.
"""

from __future__ import annotations

import sys

import cffi

CDEF = """
struct io_uring_zcrx_rqe { uint64_t off; uint32_t len; uint32_t __pad; };

struct zcrx_level { const char *name; ...; };
const struct zcrx_level *zcrx_level_of(uint32_t level);
struct zcrx_contract { uint32_t level, deviations; };
struct zcrx_shape {
    uint32_t num_niovs, niov_shift, rq_entries, cq_entries, ptr_ring_size,
             grant_entries, log_entries, flows_max, initial_index, ring_layout, flight_entries;
    struct zcrx_contract contract;
};
struct zcrx_sizes { uint64_t kern, rings, area, lab; };
struct zcrx_provider_ops { const char *name; ...; };
struct zcrx_mapping {
    void *run, *bells, *kern, *rings, *area, *lab;
    const struct zcrx_provider_ops *provider;
    uint32_t caller;
};
struct zcrx_run_shared;
struct zcrx_bells;
struct zcrx_queue;
struct zcrx_account;

#define ZCRX_LEVELS ...
#define ZCRX_CONTRACT_STRICT_ALIAS ...
#define ZCRX_QUEUES_MAX ...
#define ZCRX_RULES_MAX ...
#define ZCRX_JOURNAL_MAX ...
#define ZCRX_POOLS_MAX ...
#define ZCRX_VERDICT_COUNT ...
#define ZCRX_PACKET_MAX ...
#define ZCRX_LAYOUT_VERSION ...

const struct zcrx_provider_ops *zcrx_foreign_open(const char *path, char *why, size_t size);
int zcrx_layout_sizes(const struct zcrx_shape *shape, struct zcrx_sizes *sizes);

/* control process */
size_t zcrx_run_size(void);
size_t zcrx_bells_size(void);
size_t zcrx_queue_size(void);
int zcrx_queue_attach(struct zcrx_queue *queue, const struct zcrx_shape *shape, uint32_t index,
                      const struct zcrx_mapping *mapping);
void zcrx_queue_format_objects(struct zcrx_queue *queue);
int zcrx_queue_create_pool(struct zcrx_queue *queue);
void zcrx_run_format(struct zcrx_run_shared *run, uint32_t queues);
void zcrx_run_set_state(struct zcrx_run_shared *run, struct zcrx_bells *bells, uint32_t state);
void zcrx_run_abort(struct zcrx_run_shared *run);
uint32_t zcrx_run_nic_ack(const struct zcrx_run_shared *run);
uint32_t zcrx_run_provider_ack(const struct zcrx_run_shared *run);
uint32_t zcrx_control_prepare(struct zcrx_bells *bells);
void zcrx_control_sleep(struct zcrx_bells *bells, uint32_t seq, uint32_t timeout_us);
void zcrx_queue_set_user(struct zcrx_queue *queue, uint32_t user);
bool zcrx_queue_user_is(const struct zcrx_queue *queue, uint32_t user);
void zcrx_queue_restart(struct zcrx_queue *queue);
int zcrx_queue_restarted(const struct zcrx_queue *queue);
uint32_t zcrx_queue_rq_available(const struct zcrx_queue *queue);
void zcrx_queue_stop_consumer(struct zcrx_queue *queue);
uint64_t zcrx_queue_scrub(struct zcrx_queue *queue, uint64_t *buffers);
uint32_t zcrx_queue_call(const struct zcrx_queue *queue, uint32_t caller);
#define ZCRX_CALLERS ...
#define ZCRX_CALLS ...
int zcrx_nl_fill(int dump, uint8_t *to, uint32_t size);

/* memory that is taken away */
int zcrx_sigbus_begin(void);
void zcrx_sigbus_end(void);
int zcrx_sigbus_watch(const void *start, size_t size);
void zcrx_sigbus_forget(int number);
uint32_t zcrx_sigbus_hurt(int number);
size_t zcrx_sigbus_watched(void);

/* counters and audit */
uint32_t zcrx_counters_size(int group);
const char *zcrx_counters_name(int group, uint32_t number);
void zcrx_counters_read(struct zcrx_queue *queue, int group, uint64_t *values);
void zcrx_injected_read(const struct zcrx_queue *queue, uint64_t *values);
void zcrx_lab_injected_read(const struct zcrx_queue *queue, uint64_t *values);
uint32_t zcrx_lab_astray_rule(const struct zcrx_queue *queue);
struct zcrx_places {
    uint32_t freelist, cache, ptr_ring, grant_ring, nic, user, in_flight;
};
void zcrx_places_read(struct zcrx_queue *queue, struct zcrx_places *places);
struct zcrx_audit {
    struct zcrx_places places;
    uint32_t lost, doubled, first_lost, first_doubled;
    uint64_t user_refs;
    uint32_t flows_wrong, first_flow_wrong;
    uint64_t fragments_missing, fragments_surplus;
};
int zcrx_audit_run(struct zcrx_queue *queue, struct zcrx_audit *audit);
struct zcrx_standing {
    uint64_t since, looks, longest, longest_since, last_since, last_until, short_rounds, consumed;
    uint32_t waits_for_cq, has_user, consumer_sleeps, freelist, cache, ptr_ring, grant_ring, nic,
             unread, returned, kept, completions_unread, rqes_unread, oldest_niov,
             oldest_completion, oldest_flow, oldest_seq;
};
uint64_t zcrx_still_since(const struct zcrx_queue *queue);
int zcrx_standing_read(struct zcrx_queue *queue, struct zcrx_standing *standing);

/* faults and reconciliation */
struct zcrx_fault_rule {
    uint32_t kind, after;
    double probability;
    uint64_t every, at;
    const uint64_t *at_list;
    uint64_t first, last, limit;
    int32_t queue;
    uint32_t flow;
    uint32_t params[4];
    uint32_t at_count, custom, custom_verdicts;
};
struct zcrx_fault_area { uint32_t num_niovs, niov_shift; };
struct zcrx_rng { uint64_t state; };
struct zcrx_fault_plan;
struct zcrx_fault_plan *zcrx_fault_new(const struct zcrx_fault_rule *rules, uint32_t count,
                                       uint64_t seed);
void zcrx_fault_free(struct zcrx_fault_plan *plan);
uint64_t zcrx_fault_next(const struct zcrx_fault_plan *plan, uint32_t rule);
void zcrx_fault_fire(struct zcrx_fault_plan *plan, uint32_t rule, uint64_t from);
struct io_uring_zcrx_rqe zcrx_fault_mutate(int kind, uint32_t value, struct zcrx_rng *rng,
                                           const struct io_uring_zcrx_rqe *valid,
                                           const struct zcrx_fault_area *area);
struct zcrx_consequence {
    uint32_t rule, kind, niov, flow, seq, generation_held, generation_now, reserved;
    uint64_t position;
};
void zcrx_consequences_read(const struct zcrx_queue *queue, uint64_t *values);
uint32_t zcrx_consequence_list(const struct zcrx_queue *queue, struct zcrx_consequence *to,
                               uint32_t max);
uint32_t zcrx_journal_read(const struct zcrx_queue *queue, int actor, uint64_t *to,
                           uint64_t *count, uint64_t *missing_from);
struct zcrx_mismatch {
    uint64_t position;
    uint32_t index;
    uint16_t intent, verdict;
    uint32_t why, account, put_down, spent;
};
struct zcrx_reconciler {
    uint64_t checked, mismatch_count, after_scrub, after_stray, aliases, lost;
    uint64_t table[255][8];
    uint64_t wrong[255], strays[255];
    struct zcrx_mismatch mismatches[64];
    struct zcrx_account *accounts;
    uint32_t account_count;
};
struct zcrx_balance { uint32_t wrong, account, delivered, taken, scrubbed, held; };
int zcrx_reconciler_init(struct zcrx_reconciler *reconciler, uint32_t num_niovs);
void zcrx_reconciler_destroy(struct zcrx_reconciler *reconciler);
void zcrx_reconcile_new_user(struct zcrx_reconciler *reconciler, const struct zcrx_queue *queue);
void zcrx_reconcile_balance(const struct zcrx_reconciler *reconciler,
                            const struct zcrx_queue *queue, struct zcrx_balance *balance);
uint64_t zcrx_reconcile(struct zcrx_reconciler *reconciler, struct zcrx_queue *queue);
void zcrx_queue_scrub_begin(struct zcrx_queue *queue, uint32_t rule);
bool zcrx_queue_nic_is_quiet(const struct zcrx_queue *queue);
void zcrx_queue_scrub_end(struct zcrx_queue *queue);
bool zcrx_queue_scrub_seen(const struct zcrx_queue *queue, uint64_t *position);
uint64_t zcrx_queue_claim(struct zcrx_queue *queue);
struct zcrx_stream {
    uint64_t bytes, step;
    uint32_t crc, mark_count, error, ends;
    uint32_t marks[1024];
};
void zcrx_stream_read(const struct zcrx_queue *queue, struct zcrx_stream *stream);
uint32_t zcrx_stream_ends(const struct zcrx_queue *queue);
uint64_t zcrx_queue_consumed(const struct zcrx_queue *queue);
#define ZCRX_ALARMS ...
void zcrx_alarms_read(const struct zcrx_queue *queue, uint64_t *values);
struct zcrx_peek {
    uint64_t off;
    uint32_t len, pad, tail, niov, user_refs, pp_refs;
};
void zcrx_flow_read(const struct zcrx_queue *queue, uint32_t flow, uint32_t values[4]);
void zcrx_queue_peek(const struct zcrx_queue *queue, uint32_t index, struct zcrx_peek *peek);

/* flight recorders */
#define ZCRX_FLIGHT_ENTRIES ...
#define ZCRX_WRITERS ...
void zcrx_queue_set_flight_clock(struct zcrx_queue *queue, uint32_t clock);
uint32_t zcrx_queue_flight(const struct zcrx_queue *queue, uint32_t writer, void *to,
                           uint64_t *first);
void zcrx_flight_read_clocks(uint32_t clock, uint64_t *ticks, uint64_t *ns);
bool zcrx_flight_has_counter(void);

/* the three loops */
struct zcrx_nic_params {
    uint64_t packets_max, laps_max, wait_max_ns;
    uint32_t paced, copy_every;
    int32_t listen_fd;
    uint64_t seed;
    uint32_t connections_max;
};
struct zcrx_nic;
struct zcrx_nic *zcrx_nic_new(const struct zcrx_shape *shape, uint32_t queues,
                              const struct zcrx_mapping *mappings, const void *arena,
                              const struct zcrx_nic_params *params,
                              const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_nic_free(struct zcrx_nic *nic);
int zcrx_nic_run(struct zcrx_nic *nic, uint32_t slice_ms);

struct zcrx_grantor;
struct zcrx_grantor *zcrx_grantor_new(const struct zcrx_shape *shape, uint32_t queues,
                                      const struct zcrx_mapping *mappings,
                                      const struct zcrx_fault_rule *rules, uint32_t rule_count,
                                      uint64_t seed);
void zcrx_grantor_free(struct zcrx_grantor *grantor);
int zcrx_grantor_run(struct zcrx_grantor *grantor, uint32_t slice_ms);

struct zcrx_consumer_params {
    uint32_t verify, return_order, hold, recheck_every, stop_at_end;
    int32_t output_fd;
    uint64_t seed, position;
    uint32_t queues;
};
struct zcrx_fragment {
    uint64_t off, user_data;
    int32_t res;
    uint32_t flags, crc, seq, generation, mark;
};
struct zcrx_consumer;
struct zcrx_consumer *zcrx_consumer_new(const struct zcrx_shape *shape, uint32_t index,
                                        const struct zcrx_mapping *mapping,
                                        const struct zcrx_consumer_params *params,
                                        const struct zcrx_fault_rule *rules, uint32_t rule_count);
void zcrx_consumer_free(struct zcrx_consumer *consumer);
int zcrx_consumer_run(struct zcrx_consumer *consumer, uint32_t slice_ms);
uint32_t zcrx_consumer_take(struct zcrx_consumer *consumer, struct zcrx_fragment *fragments,
                            uint32_t max);
void zcrx_consumer_wait(struct zcrx_consumer *consumer, uint32_t timeout_us);
void zcrx_consumer_give_back(struct zcrx_consumer *consumer,
                             const struct zcrx_fragment *fragments, uint32_t count);
void zcrx_consumer_give_astray(struct zcrx_consumer *consumer,
                               const struct zcrx_fragment *fragments, uint32_t count);
struct zcrx_poison;
struct zcrx_touch { uint64_t off; int32_t thread; uint32_t is_write; };
void zcrx_poison_keep_handler(void);
struct zcrx_poison *zcrx_poison_start(void *area, uint32_t num_niovs, uint32_t niov_shift);
void *zcrx_poison_view(const struct zcrx_poison *poison);
uint32_t zcrx_poison_take(struct zcrx_poison *poison, struct zcrx_touch *touches, uint32_t max,
                          uint64_t *count);
void zcrx_consumer_set_poison(struct zcrx_consumer *consumer, struct zcrx_poison *poison);
void zcrx_consumer_note_touches(struct zcrx_consumer *consumer, uint64_t count);
void zcrx_own_mistakes_read(const struct zcrx_queue *queue, uint64_t values[2]);
uint64_t zcrx_consumer_flush(struct zcrx_consumer *consumer);
bool zcrx_consumer_should_stop(const struct zcrx_consumer *consumer);
#define ZCRX_HISTORY ...
#define ZCRX_CUSTOM_ENTRIES_MAX ...
struct zcrx_custom_call {
    uint32_t rule, queue;
    uint64_t ordinal, position, seed;
    struct io_uring_zcrx_rqe valid;
    const struct io_uring_zcrx_rqe *history;
    uint64_t history_count;
    struct io_uring_zcrx_rqe entries[16];
    uint32_t count, in_place;
};
void zcrx_consumer_set_custom(struct zcrx_consumer *consumer,
                              int (*ask)(void *context, struct zcrx_custom_call *call),
                              void *context);
void zcrx_consumer_custom_wrote(struct zcrx_consumer *consumer, const uint8_t *before,
                                const uint8_t *after);
extern "Python" int zcrx_custom_ask_python(void *context, struct zcrx_custom_call *call);

/* the arena */
struct zcrx_packet {
    uint64_t data_off, time_ns;
    uint32_t len, flow, crc_first, reserved;
};
struct zcrx_arena_queue { uint64_t packets_off, packet_count; };
struct zcrx_arena {
    uint32_t version, queues, niov_shift, reserved;
    uint64_t crcs_off, lap_ns;
    struct zcrx_arena_queue queue[64];
};
uint32_t zcrx_crc32c(const void *data, size_t size);
uint32_t zcrx_crc32c_more(uint32_t crc, const void *data, size_t size);
uint32_t zcrx_crc32c_portable(const void *data, size_t size);
const char *zcrx_crc32c_kind(void);
uint32_t zcrx_rss_hash(const uint8_t *input, uint32_t size);

/* stepping */
struct zcrx_judgement { uint32_t index, niov; uint8_t verdict, alias; };
struct zcrx_step_pool { uint32_t phase, cache_count, ring_count, inflight; };
struct zcrx_step;
struct zcrx_step *zcrx_step_new_of(const struct zcrx_shape *shape,
                                   const struct zcrx_provider_ops *provider);
void zcrx_step_free(struct zcrx_step *step);
int64_t zcrx_step_alloc(struct zcrx_step *step);
void zcrx_step_deliver(struct zcrx_step *step, uint32_t niov, uint32_t fragments);
void zcrx_step_drop(struct zcrx_step *step, uint32_t niov);
void zcrx_step_write_rqe(struct zcrx_step *step, uint32_t slot, uint64_t off, uint32_t len,
                         uint32_t pad);
uint32_t zcrx_step_head(const struct zcrx_step *step);
uint32_t zcrx_step_tail(const struct zcrx_step *step);
uint32_t zcrx_step_cached_head(const struct zcrx_step *step);
void zcrx_step_set_head(struct zcrx_step *step, uint32_t value);
void zcrx_step_set_tail(struct zcrx_step *step, uint32_t value);
uint64_t zcrx_step_scrub(struct zcrx_step *step);
int64_t zcrx_step_copy_fallback(struct zcrx_step *step);
int zcrx_step_restart(struct zcrx_step *step);
int zcrx_step_retry_release(struct zcrx_step *step, uint32_t slot);
int zcrx_step_destroy(struct zcrx_step *step);
uint32_t zcrx_step_freelist(const struct zcrx_step *step, uint32_t *niovs);
void zcrx_step_buffers(const struct zcrx_step *step, uint32_t *user_refs, uint32_t *pp_refs,
                       uint32_t *pools);
void zcrx_step_pool_read(const struct zcrx_step *step, uint32_t slot, struct zcrx_step_pool *pool,
                         uint32_t *cache, uint32_t *ring);
uint32_t zcrx_step_current_pool(const struct zcrx_step *step);
uint32_t zcrx_step_take_verdicts(struct zcrx_step *step, struct zcrx_judgement *to, uint32_t max);
struct zcrx_queue *zcrx_step_queue(struct zcrx_step *step);
"""

SOURCE = """
#include "judge/audit.h"
#include "actors/consumer.h"
#include "run/control.h"
#include "wire/crc32c.h"
#include "actors/grantor.h"
#include "actors/nic.h"
#include "judge/reconcile.h"
#include "actors/returns.h"
#include "actors/rss.h"
#include "wire/sigbus.h"
#include "judge/standing.h"
#include "run/step.h"
"""


def main() -> None:
    """Write the C source to the path given as the first argument."""
    builder = cffi.FFI()
    builder.cdef(CDEF)
    builder.set_source("emu._core", SOURCE, py_limited_api=True)
    builder.emit_c_code(sys.argv[1])


if __name__ == "__main__":
    main()
