/*
 * DPDK's memif driver between two real processes: one sends mbufs that it
 * has filled from an arena, the other receives them, reads their first bytes
 * and frees them. What is counted is what was received.
 *
 *	dpdk_memif -s BYTES -t SECONDS -d DIRECTORY [-z]
 *
 * DIRECTORY is an absolute path, and gets the socket and what EAL leaves
 * behind; it is the caller's to remove. No huge pages, no devices. -z asks
 * for zero-copy: the client, who sends, then shares the memory of its mbufs, and
 * the only copy left is the one that the server makes when it receives.
 * Without it there are two: into the shared memory, and out of it.
 */
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "arena.h"
#include "pair.h"

#define BURST 64u
#define NUM_MBUFS 8191u		/* a power of two minus one suits a mempool */
#define MBUF_CACHE 256u
#define RING_ENTRIES 1024u	/* memif's default, too */
#define PACKET_BYTES_MAX 2048u	/* what one memif buffer takes */
#define PORT ((uint16_t)0)
#define LINK_UP_SECONDS 10.0
#define WARM_UP_SECONDS 0.02
#define CLOCK_EVERY_BURSTS 64u

struct shared {
	_Atomic uint32_t listening;	/* the client may connect */
	_Atomic uint32_t stop;		/* the receiver has measured */
};

struct options {
	uint32_t payload_size;
	double seconds;
	const char *directory;
	bool zero_copy;
};

/* Each process has its EAL, with one core and the one virtual device. */
static void start_eal(const struct options *o, bool server, int core)
{
	char vdev[512], lcores[32], prefix[64];
	char *arguments[] = {
		"dpdk_memif", "--no-huge", "--no-pci", "--no-telemetry",
		"--no-shconf", "-m", "256", "--log-level", "error",
		"--lcores", lcores, "--file-prefix", prefix, "--vdev", vdev,
		"--single-file-segments", NULL,
	};
	int count = (int)(sizeof(arguments) / sizeof(*arguments)) - 1;

	if (!o->zero_copy)
		arguments[--count] = NULL;
	snprintf(lcores, sizeof(lcores), "0@%d", core);
	snprintf(prefix, sizeof(prefix), "bench-%d", (int)getpid());
	snprintf(vdev, sizeof(vdev),
		 "net_memif0,role=%s,socket=%s/memif,socket-abstract=no%s",
		 server ? "server" : "client", o->directory,
		 o->zero_copy && !server ? ",zero-copy=yes" : "");
	setenv("RUNTIME_DIRECTORY", o->directory, 1);
	if (rte_eal_init(count, arguments) < 0) {
		errno = rte_errno;
		die("rte_eal_init");
	}
}

static struct rte_mempool *open_port(void)
{
	struct rte_eth_conf conf = { 0 };
	struct rte_mempool *mbufs = rte_pktmbuf_pool_create(
		"mbufs", NUM_MBUFS, MBUF_CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
		SOCKET_ID_ANY);

	errno = 0;
	if (!mbufs)
		die("rte_pktmbuf_pool_create");
	if (rte_eth_dev_configure(PORT, 1, 1, &conf) ||
	    rte_eth_tx_queue_setup(PORT, 0, RING_ENTRIES, 0, NULL) ||
	    rte_eth_rx_queue_setup(PORT, 0, RING_ENTRIES, 0, NULL, mbufs) ||
	    rte_eth_dev_start(PORT))
		die("setting the port up");
	return mbufs;
}

static void await_link(void)
{
	uint64_t deadline = deadline_after(LINK_UP_SECONDS);
	struct rte_eth_link link = { 0 };

	errno = 0;
	for (;;) {
		if (rte_eth_link_get_nowait(PORT, &link) == 0 &&
		    link.link_status == RTE_ETH_LINK_UP)
			return;
		if (now_ns() > deadline)
			die("the link does not come up");
		usleep(1000);
	}
}

/*
 * A client that connects before the server's port has started is turned away
 * for good; so it waits until then.
 */
static void await_server(struct shared *shared)
{
	uint64_t deadline = deadline_after(LINK_UP_SECONDS);

	errno = 0;
	while (!atomic_load_explicit(&shared->listening, memory_order_acquire)) {
		if (now_ns() > deadline)
			die("the server does not listen");
		usleep(1000);
	}
}

static bool stopped(struct shared *shared)
{
	return atomic_load_explicit(&shared->stop, memory_order_relaxed);
}

/* Sends all of them, unless told to stop; what is left is freed. */
static void send_burst(struct shared *shared, struct rte_mbuf **packets,
		       bool alone)
{
	uint16_t sent = 0;

	while (sent < BURST) {
		uint16_t more = rte_eth_tx_burst(PORT, 0, packets + sent,
						 (uint16_t)(BURST - sent));

		sent = (uint16_t)(sent + more);
		if (more)
			continue;
		if (stopped(shared))
			break;
		wait_a_little(alone);
	}
	rte_pktmbuf_free_bulk(packets + sent, BURST - sent);
}

static void transmit(const struct arena *arena, struct rte_mempool *mbufs,
		     struct shared *shared, bool alone)
{
	struct rte_mbuf *packets[BURST];
	uint16_t size = (uint16_t)arena->payload_size;
	uint64_t sequence = 0;

	while (!stopped(shared)) {
		/* With zero-copy, mbufs come back only as bursts are sent. */
		if (rte_pktmbuf_alloc_bulk(mbufs, packets, BURST)) {
			if (rte_eth_tx_burst(PORT, 0, packets, 0) == 0)
				wait_a_little(alone);
			continue;
		}
		for (uint32_t i = 0; i < BURST; i++) {
			copy_payload(rte_pktmbuf_mtod(packets[i],
						      unsigned char *),
				     arena_payload(arena, sequence++), size);
			packets[i]->data_len = size;
			packets[i]->pkt_len = size;
		}
		send_burst(shared, packets, alone);
	}
}

/* One burst; returns how many packets it had, of which all must be right. */
static uint32_t receive_burst(uint32_t size, uint64_t *touched, bool alone)
{
	struct rte_mbuf *packets[BURST];
	uint16_t count = rte_eth_rx_burst(PORT, 0, packets, BURST);

	if (count == 0)
		wait_a_little(alone);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t first;

		if (packets[i]->pkt_len != size)
			die("a packet's size");
		memcpy(&first, rte_pktmbuf_mtod(packets[i], void *),
		       sizeof(first));
		*touched += first;
	}
	rte_pktmbuf_free_bulk(packets, count);
	return count;
}

static uint64_t receive_until(uint64_t deadline, uint32_t size, bool alone)
{
	uint64_t received = 0, touched = 0;
	volatile uint64_t sink;		/* or no reading would remain */

	do {
		for (uint32_t i = 0; i < CLOCK_EVERY_BURSTS; i++)
			received += receive_burst(size, &touched, alone);
	} while (now_ns() < deadline);
	sink = touched;
	(void)sink;
	return received;
}

static double receive(const struct options *o, bool alone)
{
	uint64_t deadline = deadline_after(LINK_UP_SECONDS);
	uint64_t received = 0, start, touched = 0;

	while (receive_burst(o->payload_size, &touched, alone) == 0)
		if (now_ns() > deadline)
			die("no packet comes");
	receive_until(deadline_after(WARM_UP_SECONDS), o->payload_size, alone);
	start = now_ns();
	received = receive_until(deadline_after(o->seconds), o->payload_size,
				 alone);
	return (double)received / ((double)(now_ns() - start) / 1e9);
}

/*
 * Neither side closes its port: with zero-copy, the driver's close frees
 * mbufs that are free already and may crash. What is left is memory, which
 * the kernel takes back, and the directory, which is the caller's.
 */
static double run_pair(const struct options *o)
{
	struct arena arena = arena_create(o->payload_size);
	struct shared *shared = shared_bytes(sizeof(*shared));
	int client_core = allowed_core(0), server_core = allowed_core(1);
	bool alone = server_core < 0;
	pid_t child = pair_fork(o->seconds + LINK_UP_SECONDS);
	double rate;

	if (child == 0) {
		struct rte_mempool *mbufs;

		start_eal(o, false, client_core);
		await_server(shared);
		mbufs = open_port();
		await_link();
		transmit(&arena, mbufs, shared, alone);
		_exit(0);	/* see run_pair() */
	}
	start_eal(o, true, alone ? client_core : server_core);
	open_port();
	atomic_store_explicit(&shared->listening, 1, memory_order_release);
	await_link();
	rate = receive(o, alone);
	atomic_store_explicit(&shared->stop, 1, memory_order_relaxed);
	pair_join(child);
	return rate;
}

int main(int argc, char **argv)
{
	struct options o = { .payload_size = 1448, .seconds = 0.3 };
	int option;

	while ((option = getopt(argc, argv, "s:t:d:z")) != -1) {
		if (option == 's')
			o.payload_size = parse_count(optarg, sizeof(uint64_t),
						     PACKET_BYTES_MAX);
		else if (option == 't')
			o.seconds = parse_seconds(optarg);
		else if (option == 'd')
			o.directory = optarg;
		else if (option == 'z')
			o.zero_copy = true;
		else
			return 2;
	}
	if (!o.directory) {
		fprintf(stderr, "-d DIRECTORY is needed\n");
		return 2;
	}
	report("packets/s", run_pair(&o));
	return 0;
}
