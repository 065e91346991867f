/* SPDX-License-Identifier: MIT */
/*
 * TCP connections over loopback as traffic: each is a flow whose bytes arrive
 * whole and in order, its end is a completion, and nothing is lost while there
 * are no buffers, no room, or no user.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/crc32c.h"
#include "actors/nic.h"
#include "queue_memory.h"
#include "wire/rng.h"
#include "actors/rss.h"

#define QUEUES 3U
#define CLIENTS_MAX 8U
#define STREAM_MAX (1U << 20)

struct client {
	int fd;
	struct sockaddr_in address;
};

struct server {
	struct zcrx_nic *nic;
	struct zcrx_run_shared *run;
	struct zcrx_bells *bells;
	struct zcrx_mapping mappings[QUEUES];
	struct zcrx_queue queues[QUEUES];
	struct zcrx_cq_user users[QUEUES];
	struct zcrx_rq_user rq_users[QUEUES];
	struct sockaddr_in address;
	int listen_fd;
	/* what arrived, by flow, on whichever queue */
	uint32_t received[CLIENTS_MAX];
	uint32_t ended[CLIENTS_MAX];
	int32_t end_res[CLIENTS_MAX];
	uint32_t queue_of[CLIENTS_MAX];
};

/* Byte `at` of the stream of a flow. */
static uint8_t stream_byte(uint32_t flow, uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) + flow * 31);
}

static void server_init(struct server *server, uint32_t connections_max)
{
	struct zcrx_shape shape = small_shape();
	struct zcrx_nic_params params = {.connections_max = connections_max};
	socklen_t size = sizeof(server->address);

	memset(server, 0, sizeof(*server));
	shape.cq_entries = 16;
	shape.flows_max = CLIENTS_MAX;
	server->address.sin_family = AF_INET;
	server->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	REQUIRE(server->listen_fd >= 0);
	REQUIRE(!bind(server->listen_fd, (struct sockaddr *)&server->address, size));
	REQUIRE(!listen(server->listen_fd, 16));
	REQUIRE(!getsockname(server->listen_fd, (struct sockaddr *)&server->address, &size));
	server->run = zeroed(zcrx_run_size());
	server->bells = zeroed(zcrx_bells_size());
	zcrx_run_format(server->run, QUEUES);
	for (uint32_t i = 0; i < QUEUES; i++) {
		struct zcrx_queue *queue = &server->queues[i];

		server->mappings[i] = queue_objects(&shape, server->run, server->bells);
		REQUIRE(zcrx_queue_attach(queue, &shape, i, &server->mappings[i]) == 0);
		REQUIRE(zcrx_queue_format(queue) == 0);
		server->users[i] = (struct zcrx_cq_user){
			.head = queue->cq.head,
			.tail = queue->cq.tail,
			.cqes = queue->cq.cqes,
			.entries = shape.cq_entries,
			.mask = queue->cq.mask,
			.cached_head = shape.initial_index,
		};
		server->rq_users[i] = user_of(queue);
	}
	params.listen_fd = server->listen_fd;
	server->nic = zcrx_nic_new(&shape, QUEUES, server->mappings, NULL, &params, NULL, 0);
	REQUIRE(server->nic);
	zcrx_run_set_state(server->run, server->bells, ZCRX_RUN_TRAFFIC);
}

static void server_free(struct server *server)
{
	zcrx_nic_free(server->nic);
	for (uint32_t i = 0; i < QUEUES; i++)
		queue_objects_free(&server->mappings[i]);
	free(server->run);
	free(server->bells);
}

/* Connect, and have the connection accepted, so that flows have the numbers of their clients. */
static struct client connect_to(struct server *server)
{
	struct client client = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
	socklen_t size = sizeof(client.address);

	REQUIRE(client.fd >= 0);
	REQUIRE(!connect(client.fd, (struct sockaddr *)&server->address, sizeof(server->address)));
	REQUIRE(!getsockname(client.fd, (struct sockaddr *)&client.address, &size));
	zcrx_nic_run(server->nic, 0);
	return client;
}

static void send_stream(const struct client *client, uint32_t flow, uint32_t from, uint32_t size)
{
	uint8_t bytes[STREAM_MAX / 16];

	while (size > 0) {
		uint32_t count = size < sizeof(bytes) ? size : (uint32_t)sizeof(bytes);
		ssize_t done;

		for (uint32_t i = 0; i < count; i++)
			bytes[i] = stream_byte(flow, from + i);
		done = send(client->fd, bytes, count, MSG_NOSIGNAL);
		REQUIRE(done > 0);
		from += (uint32_t)done;
		size -= (uint32_t)done;
	}
}

/* The user reads a completion: bytes against the stream, ledger against both. */
static void read_completion(struct server *server, uint32_t number)
{
	struct zcrx_queue *queue = &server->queues[number];
	struct zcrx_ledger_entry *note =
		&queue->ledger[server->users[number].cached_head & queue->cq.mask];
	struct zcrx_cqe32 cqe = zcrx_cq_user_take(&server->users[number]);
	uint32_t flow = (uint32_t)cqe.cqe.user_data;
	const uint8_t *bytes = queue->area.bytes + cqe.zcrx.off;

	REQUIRE(flow < CLIENTS_MAX);
	server->queue_of[flow] = number;
	if (!(cqe.cqe.flags & IORING_CQE_F_MORE)) {
		server->ended[flow]++;
		server->end_res[flow] = cqe.cqe.res;
		return;
	}
	CHECK(cqe.cqe.res > 0 && cqe.cqe.res <= 4096);
	CHECK_EQ(cqe.zcrx.off % 4096, 0);
	CHECK_EQ(count_of(&note->crc_generation) >> 32, zcrx_crc32c(bytes, (size_t)cqe.cqe.res));
	for (int32_t i = 0; i < cqe.cqe.res; i++) {
		if (!CHECK_EQ(bytes[i], stream_byte(flow, server->received[flow]++)))
			break;
	}
	zcrx_rq_user_put(&server->rq_users[number], cqe.zcrx.off, (uint32_t)cqe.cqe.res, 0);
	zcrx_rq_user_publish(&server->rq_users[number]);
}

/* One round: the provider grants, the NIC receives, the users read at most `most` each. */
static void serve(struct server *server, uint32_t most)
{
	for (uint32_t i = 0; i < QUEUES; i++)
		grant(&server->queues[i], 8);
	zcrx_nic_run(server->nic, 0);
	for (uint32_t i = 0; i < QUEUES; i++) {
		uint32_t count = zcrx_cq_user_available(&server->users[i]);

		for (uint32_t read = 0; read < count && read < most; read++)
			read_completion(server, i);
		zcrx_cq_user_release(&server->users[i]);
	}
}

static void serve_until_ended(struct server *server, uint32_t flow)
{
	struct patience patience = {0};

	while (!server->ended[flow]) {
		serve(server, 64);
		REQUIRE(work_more(&patience));
	}
}

static uint64_t total(const struct server *server, size_t counter)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < QUEUES; i++)
		sum += count_of(
			(const shm_u64 *)((const uint8_t *)server->queues[i].nic + counter));
	return sum;
}

#define TOTAL(server, name) total((server), offsetof(struct zcrx_nic_shared, name))

/* ---- flows ------------------------------------------------------------------------- */

static void a_connection_is_a_flow_and_its_end_a_completion(void)
{
	const uint32_t sizes[] = {0, 1, 4095, 4096, 4097, 200000};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct server server;
		struct client client;

		server_init(&server, 1);
		client = connect_to(&server);
		send_stream(&client, 0, 0, sizes[i]);
		close(client.fd);
		serve_until_ended(&server, 0);
		CHECK_EQ(server.received[0], sizes[i]);
		CHECK_EQ(server.ended[0], 1);
		CHECK_EQ(server.end_res[0], 0);
		CHECK_EQ(TOTAL(&server, bytes_delivered), sizes[i]);
		CHECK_EQ(TOTAL(&server, bytes_offered), sizes[i]);
		CHECK_EQ(TOTAL(&server, connections), 1);
		server_free(&server);
	}
}

/* ---- the account of a stream --------------------------------------------------------- */

/* The queue that a client's bytes came in on. */
static struct zcrx_stream account_of(const struct server *server, uint32_t flow)
{
	struct zcrx_stream stream;

	zcrx_stream_read(&server->queues[server->queue_of[flow]], &stream);
	return stream;
}

/*
 * Marks stand a step apart, each the CRC of all bytes before it; the step is the
 * smallest that needs fewer marks than there may be. Told once more from the
 * bytes that were sent.
 */
static void check_account(const struct zcrx_stream *stream, uint32_t flow, uint32_t size)
{
	uint8_t *sent = malloc((size_t)size + 1);
	uint64_t step = ZCRX_STREAM_STEP;

	REQUIRE(sent);
	for (uint32_t i = 0; i < size; i++)
		sent[i] = stream_byte(flow, i);
	while (size / step >= ZCRX_STREAM_MARKS)
		step *= 2;
	CHECK_EQ(stream->bytes, size);
	CHECK_EQ(stream->step, size ? step : 0);
	CHECK_EQ(stream->crc, zcrx_crc32c(sent, size));
	CHECK_EQ(stream->mark_count, size / step);
	for (uint32_t i = 0, crc = 0; i < stream->mark_count; i++) {
		crc = zcrx_crc32c_more(crc, sent + i * step, (size_t)step);
		if (!CHECK_EQ(stream->marks[i], crc))
			break;
	}
	free(sent);
}

static void the_nic_keeps_account_of_a_stream_of_any_length(void)
{
	const uint32_t most = ZCRX_STREAM_MARKS * ZCRX_STREAM_STEP;
	const uint32_t sizes[] = {0, 1, 4095, 4096, 4097, most - 1, most, 2 * most + 1, 5 * most};

	/* Where all is much slower the step is not doubled: the NIC waits in each of many rounds. */
	const size_t count = CHECK_SLOWDOWN > 4 ? COUNT_OF(sizes) - 2 : COUNT_OF(sizes);

	for (size_t i = 0; i < count; i++) {
		struct zcrx_stream stream;
		struct server server;
		struct client client;

		server_init(&server, 1);
		client = connect_to(&server);
		for (uint32_t sent = 0; sent < sizes[i]; sent += STREAM_MAX / 16) {
			uint32_t left = sizes[i] - sent;

			send_stream(&client, 0, sent,
				    left < STREAM_MAX / 16 ? left : STREAM_MAX / 16);
			while (server.received[0] < sent)
				serve(&server, 64);
		}
		stream = account_of(&server, 0);
		CHECK_EQ(stream.ends, 0);
		close(client.fd);
		serve_until_ended(&server, 0);
		stream = account_of(&server, 0);
		check_account(&stream, 0, sizes[i]);
		CHECK_EQ(stream.ends, 1);
		CHECK_EQ(stream.error, 0);
		server_free(&server);
	}
}

static void connections_are_steered_by_their_hash(void)
{
	struct server server;
	struct client clients[CLIENTS_MAX];

	server_init(&server, CLIENTS_MAX);
	for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
		clients[i] = connect_to(&server);
		send_stream(&clients[i], i, 0, 50000 + i);
		close(clients[i].fd);
	}
	for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
		uint8_t input[12];

		serve_until_ended(&server, i);
		memcpy(input, &clients[i].address.sin_addr, 4);
		memcpy(input + 4, &server.address.sin_addr, 4);
		memcpy(input + 8, &clients[i].address.sin_port, 2);
		memcpy(input + 10, &server.address.sin_port, 2);
		CHECK_EQ(server.queue_of[i], zcrx_rss_hash(input, 12) % QUEUES);
		CHECK_EQ(server.received[i], 50000 + i);
	}
	server_free(&server);
}

static void a_reset_connection_ends_with_its_error(void)
{
	const struct linger at_once = {.l_onoff = 1};
	struct server server;
	struct client client;

	server_init(&server, 1);
	client = connect_to(&server);
	REQUIRE(!setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	close(client.fd);
	serve_until_ended(&server, 0);
	CHECK_EQ(server.end_res[0], -ECONNRESET);
	CHECK_EQ(account_of(&server, 0).error, ECONNRESET);
	CHECK_EQ(account_of(&server, 0).ends, 1);
	server_free(&server);
}

static void no_more_connections_are_taken_than_asked_for(void)
{
	struct server server;
	struct client client;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	server_init(&server, 1);
	client = connect_to(&server);
	REQUIRE(fd >= 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&server.address, sizeof(server.address)), -1);
	CHECK_EQ(errno, ECONNREFUSED);
	close(fd);
	close(client.fd);
	serve_until_ended(&server, 0);
	server_free(&server);
}

/* ---- backpressure --------------------------------------------------------------------- */

static void a_slow_user_slows_the_sender_and_loses_nothing(void)
{
	struct server server;
	struct client client;
	struct patience patience = {0};

	server_init(&server, 1);
	client = connect_to(&server);
	send_stream(&client, 0, 0, 300000);
	close(client.fd);
	while (!server.ended[0] && work_more(&patience))
		serve(&server, 1);
	CHECK_EQ(server.received[0], 300000);
	CHECK(TOTAL(&server, waits_cq_full) + TOTAL(&server, waits_no_buffer) > 0);
	CHECK_EQ(TOTAL(&server, packets_dropped), 0);
	server_free(&server);
}

static void without_buffers_the_socket_is_not_read(void)
{
	struct server server;
	struct client client;

	server_init(&server, 1);
	client = connect_to(&server);
	send_stream(&client, 0, 0, 10000);
	close(client.fd);
	for (uint32_t i = 0; i < 5; i++)
		zcrx_nic_run(server.nic, 0); /* nothing was granted */
	CHECK_EQ(TOTAL(&server, bytes_delivered), 0);
	CHECK(TOTAL(&server, waits_no_buffer) > 0);
	serve_until_ended(&server, 0);
	CHECK_EQ(server.received[0], 10000);
	server_free(&server);
}

static void without_a_user_the_socket_is_not_read(void)
{
	struct server server;
	struct client client;

	server_init(&server, 1);
	client = connect_to(&server);
	for (uint32_t i = 0; i < QUEUES; i++)
		zcrx_queue_set_user(&server.queues[i], 0);
	send_stream(&client, 0, 0, 10000);
	for (uint32_t i = 0; i < 5; i++)
		serve(&server, 64);
	CHECK_EQ(TOTAL(&server, bytes_delivered), 0);
	for (uint32_t i = 0; i < QUEUES; i++)
		zcrx_queue_set_user(&server.queues[i], 2);
	close(client.fd);
	serve_until_ended(&server, 0);
	CHECK_EQ(server.received[0], 10000);
	server_free(&server);
}

CHECK_MAIN(CASE(a_connection_is_a_flow_and_its_end_a_completion),
	   CASE(the_nic_keeps_account_of_a_stream_of_any_length),
	   CASE(connections_are_steered_by_their_hash),
	   CASE(a_reset_connection_ends_with_its_error),
	   CASE(no_more_connections_are_taken_than_asked_for),
	   CASE(a_slow_user_slows_the_sender_and_loses_nothing),
	   CASE(without_buffers_the_socket_is_not_read),
	   CASE(without_a_user_the_socket_is_not_read))
