/*
 * The emulator's loop without what makes it one: no provider, no check, no
 * journal. A producer copies payloads into the buffers of a shared area and
 * tells a consumer where; the consumer looks at them and gives them back.
 *
 *	producer ── 32-byte descriptors, one a fragment ──▶ consumer
 *	    ▲                                                   │
 *	    └────────── 16-byte returns, one a fragment ────────┘
 *
 * Payloads larger than a buffer span several; small ones share one.
 *
 *	bare_loop -s BYTES -t SECONDS [-n BUFFERS] [-f] [-v none|touch|crc]
 *
 * -v is what the consumer does with a fragment: not read it, read its first
 * bytes, or compare the packet's CRC32C (by our own cext/wire/crc32c.c) with the one
 * computed beforehand. -f takes the buffer next that is free longest, as a refill ring
 * does, instead of the hottest.
 */
#include "arena.h"
#include "pool.h"
#include "spsc.h"

#define RING_ENTRIES 4096u
#define BATCH_MAX 64u		/* fragments */
#define CLOCK_EVERY_TURNS 64u
#define MORE_FRAGMENTS 1u	/* of this packet follow */

struct descriptor {
	uint64_t packet;
	uint32_t size;
	uint32_t flags;
	uint64_t offset;
	uint64_t pad;
};

struct return_entry {
	uint64_t offset;
	uint32_t size;
	uint32_t pad;
};

_Static_assert(sizeof(struct descriptor) == 32, "a CQE's size");
_Static_assert(sizeof(struct return_entry) == 16, "an RQE's size");

enum verify { VERIFY_NONE, VERIFY_TOUCH, VERIFY_CRC };

struct options {
	uint32_t payload_size;
	uint32_t num_buffers;
	double seconds;
	enum verify verify;
	bool fifo;
};

struct producer {
	const struct arena *arena;
	unsigned char *area;
	struct pool pool;
	struct spsc_side descriptors;
	struct spsc_side returns;
	uint64_t packets;		/* sent */
	uint64_t fragments_out;		/* not given back yet */
};

struct consumer {
	const struct arena *arena;
	const unsigned char *area;
	struct spsc_side descriptors;
	struct spsc_side returns;
	enum verify verify;
	uint64_t packets;
	uint64_t wrong;			/* packets whose CRC32C differs */
	uint64_t touched;		/* what was read, so that it is read */
	uint32_t crc;			/* of the packet's fragments so far */
};

static void take_returns(struct producer *p)
{
	const struct return_entry *entries = p->returns.entries;
	uint32_t count = spsc_available(&p->returns, BATCH_MAX);
	uint32_t index = p->returns.index;

	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		pool_put(&p->pool,
			 (uint32_t)(entries[(index + i) % RING_ENTRIES].offset >>
				    BUFFER_SHIFT));
	spsc_release(&p->returns, count);
	p->fragments_out -= count;
}

/* Copies one packet in and describes it; says how many fragments it became. */
static uint32_t place_packet(struct producer *p, uint32_t index)
{
	struct descriptor *descriptors = p->descriptors.entries;
	const unsigned char *payload = arena_payload(p->arena, p->packets);
	uint32_t rest = p->arena->payload_size;
	bool shared = rest <= SHARED_PAYLOAD_BYTES;
	uint32_t count = 0;

	while (rest > 0) {
		uint32_t size = rest < BUFFER_BYTES ? rest : BUFFER_BYTES;
		uint64_t offset = pool_place(&p->pool, size, shared);

		copy_payload(p->area + offset, payload, size);
		payload += size;
		rest -= size;
		descriptors[(index + count++) % RING_ENTRIES] =
			(struct descriptor){
				.packet = p->packets,
				.size = size,
				.flags = rest ? MORE_FRAGMENTS : 0,
				.offset = offset,
			};
	}
	p->packets++;
	return count;
}

/* Sends what there is room and buffers for, up to a batch; false: nothing. */
static bool send_batch(struct producer *p)
{
	uint32_t size = p->arena->payload_size;
	uint32_t fragments = (size + BUFFER_BYTES - 1) / BUFFER_BYTES;
	uint32_t room = spsc_room(&p->descriptors, BATCH_MAX);
	uint32_t limit = room < BATCH_MAX ? room : BATCH_MAX;
	uint32_t count = 0;

	if (fragments > BATCH_MAX)	/* a packet is never sent in parts */
		limit = room;
	while (count + fragments <= limit &&
	       pool_wants(&p->pool, size) <= p->pool.free_count) {
		count += place_packet(p, p->descriptors.index + count);
		if (count >= BATCH_MAX)
			break;
	}
	if (count == 0)
		return false;
	spsc_publish(&p->descriptors, count);
	p->fragments_out += count;
	return true;
}

/* Sends until the deadline, then waits until every buffer is home. */
static void produce(struct producer *p, struct pair_run *run, double seconds,
		    bool alone)
{
	uint64_t deadline = deadline_after(seconds);

	do {
		for (uint32_t i = 0; i < CLOCK_EVERY_TURNS; i++) {
			take_returns(p);
			if (!send_batch(p))
				wait_a_little(alone);
		}
	} while (now_ns() < deadline);
	pair_end(run, p->packets);
	while (p->fragments_out > 0) {
		take_returns(p);
		wait_a_little(alone);
	}
}

static void look_at(struct consumer *c, const struct descriptor *d)
{
	const unsigned char *bytes = c->area + d->offset;
	bool last = !(d->flags & MORE_FRAGMENTS);

	if (c->verify == VERIFY_TOUCH) {
		uint64_t first = *bytes;

		if (d->size >= sizeof(first))
			memcpy(&first, bytes, sizeof(first));
		c->touched += first;
	} else if (c->verify == VERIFY_CRC) {
		c->crc = zcrx_crc32c_more(c->crc, bytes, d->size);
		if (last) {
			c->wrong += c->crc != arena_crc(c->arena, d->packet);
			c->crc = 0;
		}
	}
	c->packets += last;
}

/* Handles up to a batch of fragments; false: none was there. */
static bool receive_batch(struct consumer *c, bool alone)
{
	const struct descriptor *descriptors = c->descriptors.entries;
	struct return_entry *returns = c->returns.entries;
	uint32_t available = spsc_available(&c->descriptors, 1);
	uint32_t count = available < BATCH_MAX ? available : BATCH_MAX;
	uint32_t index = c->descriptors.index;

	if (count == 0)
		return false;
	while (spsc_room(&c->returns, count) < count)
		wait_a_little(alone);
	for (uint32_t i = 0; i < count; i++) {
		const struct descriptor *d =
			&descriptors[(index + i) % RING_ENTRIES];

		look_at(c, d);
		returns[(c->returns.index + i) % RING_ENTRIES] =
			(struct return_entry){
				.offset = d->offset,
				.size = d->size,
			};
	}
	spsc_release(&c->descriptors, count);
	spsc_publish(&c->returns, count);
	return true;
}

static void consume(struct consumer *c, struct pair_run *run, bool alone)
{
	while (receive_batch(c, alone) || !pair_ended_at(run, c->packets))
		;
}

static bool is_right(const struct consumer *c)
{
	volatile uint64_t sink = c->touched;	/* or no reading would remain */

	(void)sink;
	return c->wrong == 0;
}

static double run_loop(const struct options *o)
{
	struct arena arena = arena_create(o->payload_size);
	struct pair_run *run = shared_bytes(sizeof(*run));
	unsigned char *area = shared_bytes((size_t)o->num_buffers *
					   BUFFER_BYTES);
	void *descriptors = shared_bytes(
		spsc_size(RING_ENTRIES, sizeof(struct descriptor)));
	void *returns = shared_bytes(
		spsc_size(RING_ENTRIES, sizeof(struct return_entry)));
	int producer_core = allowed_core(0), consumer_core = allowed_core(1);
	bool alone = consumer_core < 0;
	pid_t child = pair_fork(o->seconds);
	uint64_t start, elapsed_ns;

	pin_to(child ? producer_core : consumer_core);
	if (child == 0) {
		struct consumer consumer = {
			.arena = &arena,
			.area = area,
			.descriptors = spsc_side(descriptors, RING_ENTRIES),
			.returns = spsc_side(returns, RING_ENTRIES),
			.verify = o->verify,
		};

		pair_line_up(run, alone);
		consume(&consumer, run, alone);
		_exit(is_right(&consumer) ? 0 : 1);
	}

	struct producer producer = {
		.arena = &arena,
		.area = area,
		.pool = pool_create(o->num_buffers, o->fifo),
		.descriptors = spsc_side(descriptors, RING_ENTRIES),
		.returns = spsc_side(returns, RING_ENTRIES),
	};

	pair_line_up(run, alone);
	start = now_ns();
	produce(&producer, run, o->seconds, alone);
	elapsed_ns = now_ns() - start;
	pair_join(child);
	return (double)producer.packets / ((double)elapsed_ns / 1e9);
}

static enum verify parse_verify(const char *text)
{
	if (strcmp(text, "none") == 0)
		return VERIFY_NONE;
	if (strcmp(text, "touch") == 0)
		return VERIFY_TOUCH;
	if (strcmp(text, "crc") == 0)
		return VERIFY_CRC;
	fprintf(stderr, "%s: not one of none, touch, crc\n", text);
	_exit(2);
}

int main(int argc, char **argv)
{
	struct options o = {
		.payload_size = 1448,
		.num_buffers = 1024,
		.seconds = 0.3,
		.verify = VERIFY_TOUCH,
	};
	int option;

	while ((option = getopt(argc, argv, "s:t:n:v:f")) != -1) {
		if (option == 's')
			o.payload_size = parse_count(optarg, 1,
						     PAYLOAD_SIZE_MAX);
		else if (option == 't')
			o.seconds = parse_seconds(optarg);
		else if (option == 'n')
			o.num_buffers = parse_count(optarg, 1, 1u << 20);
		else if (option == 'v')
			o.verify = parse_verify(optarg);
		else if (option == 'f')
			o.fifo = true;
		else
			return 2;
	}
	if ((o.payload_size + BUFFER_BYTES - 1) / BUFFER_BYTES >
	    o.num_buffers) {
		fprintf(stderr, "a packet must fit into the area\n");
		return 2;
	}
	report("packets/s", run_loop(&o));
	return 0;
}
