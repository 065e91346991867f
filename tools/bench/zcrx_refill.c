/*
 * What the provider's refill path costs for one RQE: judged, references
 * dropped, verdict counted and logged. One thread, so that no cache line
 * travels; the entries are written and the references given outside the
 * measured part.
 *
 *	PROGRAM -b BATCH -t SECONDS	each entry valid, each another buffer's
 *	PROGRAM ... -r			all entries of a batch return one buffer
 *	PROGRAM ... -m			malformed entries
 */
#include "pair.h"

#include "run/layout.h"

#define RING_ENTRIES 4096u

struct bench {
	struct zcrx_queue queue;
	struct zcrx_rq_user user;
	uint32_t next_niov;
};

static void attach(struct bench *bench)
{
	const struct zcrx_shape shape = {
		.num_niovs = 1024,
		.niov_shift = 12,
		.rq_entries = RING_ENTRIES,
		.cq_entries = 16,
		.ptr_ring_size = 1024,
		.grant_entries = 16,
		.log_entries = 1u << 16,
		.flows_max = 1,
	};
	struct zcrx_mapping mapping = {0};
	struct zcrx_sizes sizes;

	if (zcrx_layout_sizes(&shape, &sizes))
		die("shape");
	mapping.kern = shared_bytes(sizes.kern);
	mapping.rings = shared_bytes(sizes.rings);
	mapping.notes = shared_bytes(sizes.notes);
	if (zcrx_queue_attach(&bench->queue, &shape, 0, &mapping) ||
	    zcrx_queue_format(&bench->queue))
		die("queue");
	bench->user = (struct zcrx_rq_user){
		.head = bench->queue.ifq.rq.head,
		.tail = bench->queue.ifq.rq.tail,
		.rqes = bench->queue.ifq.rq.rqes,
		.entries = RING_ENTRIES,
		.mask = RING_ENTRIES - 1,
	};
}

/* Bind all buffers to the pool, as if they had been handed out. */
static void hand_out_all(struct bench *bench)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&bench->queue.ifq);

	for (uint32_t i = 0; i < bench->queue.area.num_niovs; i++) {
		if (zcrx_pp_alloc(pool) < 0)
			die("alloc");
	}
}

enum kind { VALID, ONE_BUFFER, MALFORMED };

static void write_entries(struct bench *bench, uint32_t batch, enum kind kind)
{
	for (uint32_t i = 0; i < batch; i++) {
		uint32_t niov = bench->next_niov % bench->queue.area.num_niovs;

		if (kind != MALFORMED) {
			/* The stack's own reference stands for the first fragment. */
			if (kind == ONE_BUFFER && i > 0)
				zcrx_pp_ref_get(&bench->queue.area, niov, 1);
			zcrx_user_ref_give(&bench->queue.area, niov, 1);
		}
		zcrx_rq_user_put(&bench->user, (uint64_t)niov << 12, 4096, kind == MALFORMED);
		bench->next_niov += kind != ONE_BUFFER || i + 1 == batch;
	}
	zcrx_rq_user_publish(&bench->user);
}

static uint64_t judge_entries(struct bench *bench, uint32_t batch)
{
	struct zcrx_page_pool *pool = zcrx_ifq_pool(&bench->queue.ifq);
	uint64_t start = now_ns();

	for (uint32_t done = 0; done < batch;) {
		uint32_t count = zcrx_ifq_refill_ring(&bench->queue.ifq, pool);

		if (count == 0)
			die("refill");
		done += count;
		zcrx_pp_cache_set_count(pool, 0); /* as if all were handed out */
	}
	return now_ns() - start;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	uint64_t entries = 0, elapsed_ns = 0, deadline;
	uint32_t batch = 256;
	double seconds = 0.3;
	enum kind kind = VALID;
	int option;

	while ((option = getopt(argc, argv, "b:t:mr")) != -1) {
		if (option == 'b')
			batch = parse_count(optarg, 1, 1024);
		else if (option == 't')
			seconds = parse_seconds(optarg);
		else if (option == 'm')
			kind = MALFORMED;
		else if (option == 'r')
			kind = ONE_BUFFER;
		else
			return 2;
	}
	attach(&bench);
	hand_out_all(&bench);
	pin_to(allowed_core(0));
	deadline = deadline_after(seconds);
	do {
		write_entries(&bench, batch, kind);
		elapsed_ns += judge_entries(&bench, batch);
		entries += batch;
	} while (now_ns() < deadline);
	report("ns/entry", (double)elapsed_ns / (double)entries);
	return 0;
}
