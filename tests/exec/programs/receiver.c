/* SPDX-License-Identifier: MIT */
/*
 * A server of zero-copy receive: a child sends it BYTES over loopback, each at its place a
 * number that tells the place, and every one of them is looked at.
 *
 *	receiver BYTES [WORD...]
 *
 * kernel: the refill ring is the kernel's memory, and mapped. mixed: completions of mixed
 * sizes. limit: each receive ends after 100000 bytes and is armed again. cq=N, area=N
 * (buffers), rq=N: sizes. no-array: no SQ array.
 * no-device: all is copied, and the refill ring looked at when asked for. import: a second ring
 * has the queue of the first one by its descriptor, and receives.
 * blind: the bytes are not looked at, for measuring. plain: recv() in the place of all this.
 * unmap: the area is taken away once something was received: the receive ends with -EFAULT.
 * Mistakes: keep (the last buffer of each 16 is never returned), twice (each 16th is returned
 * twice), guess (the refill ring's tail is written where an older kernel had it).
 */
#include "sender.h"
#include "zcrx.h"

#include <sys/wait.h>
#include <time.h>

#define LIMIT 100000U

struct options {
	uint64_t bytes;
	uint32_t cq, area, rq;
	bool kernel, mixed, limit, no_array;
	bool blind, plain, no_device, import;
	bool unmap, keep, twice, guess;
};

struct queue {
	struct ring ring;
	uint8_t *area, *region;
	uint32_t id, rq_entries, tail;
	_Atomic uint32_t *rq_head, *rq_tail;
	struct zcrx_rqe *rqes;
	uint64_t token;
};

static struct options read_options(int argc, char **argv)
{
	struct options options = {.bytes = 1 << 20, .cq = 256, .area = 256, .rq = 256};

	if (argc > 1)
		options.bytes = strtoull(argv[1], NULL, 10);
	for (int i = 2; i < argc; i++) {
		const char *word = argv[i];

		options.kernel |= strcmp(word, "kernel") == 0;
		options.mixed |= strcmp(word, "mixed") == 0;
		options.limit |= strcmp(word, "limit") == 0;
		options.no_array |= strcmp(word, "no-array") == 0;
		options.blind |= strcmp(word, "blind") == 0;
		options.plain |= strcmp(word, "plain") == 0;
		options.no_device |= strcmp(word, "no-device") == 0;
		options.import |= strcmp(word, "import") == 0;
		options.unmap |= strcmp(word, "unmap") == 0;
		options.keep |= strcmp(word, "keep") == 0;
		options.twice |= strcmp(word, "twice") == 0;
		options.guess |= strcmp(word, "guess") == 0;
		sscanf(word, "cq=%u", &options.cq);
		sscanf(word, "area=%u", &options.area);
		sscanf(word, "rq=%u", &options.rq);
	}
	return options;
}

/* ---- the queue -------------------------------------------------------------------------------- */

static void register_queue(struct queue *queue, const struct options *options)
{
	size_t region_size = (options->rq * sizeof(struct zcrx_rqe) / PAGE + 1) * PAGE;
	struct region_desc region = {.size = region_size};
	struct area_reg area = {.len = (uint64_t)options->area * PAGE};
	struct ifq_reg reg = {
		.if_idx = options->no_device ? 0 : 1,
		.flags = options->no_device ? 2 : 0,
		.rq_entries = options->rq,
		.area_ptr = (uint64_t)(uintptr_t)&area,
		.region_ptr = (uint64_t)(uintptr_t)&region,
	};

	queue->area =
		mmap(NULL, area.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(queue->area != MAP_FAILED);
	area.addr = (uint64_t)(uintptr_t)queue->area;
	if (!options->kernel) {
		queue->region = mmap(NULL, region_size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(queue->region != MAP_FAILED);
		region.user_addr = (uint64_t)(uintptr_t)queue->region;
		region.flags = 1;
	}
	CHECK(syscall(__NR_io_uring_register, queue->ring.fd, REGISTER_ZCRX_IFQ, &reg, 1) == 0);
	if (options->kernel) {
		queue->region = mmap(NULL, region_size, PROT_READ | PROT_WRITE, MAP_SHARED,
				     queue->ring.fd, (off_t)region.mmap_offset);
		CHECK(queue->region != MAP_FAILED);
	}
	queue->id = reg.zcrx_id;
	queue->rq_entries = reg.rq_entries;
	queue->token = area.rq_area_token;
	queue->rq_head = (_Atomic uint32_t *)(void *)(queue->region + reg.offsets.head);
	queue->rq_tail = (_Atomic uint32_t *)(void *)(queue->region + reg.offsets.tail);
	if (options->guess)
		queue->rq_tail = (_Atomic uint32_t *)(void *)(queue->region + 4);
	queue->rqes = (struct zcrx_rqe *)(void *)(queue->region + reg.offsets.rqes);
}

static void open_queue(struct queue *queue, const struct options *options)
{
	uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

	flags |= options->mixed ? SETUP_CQE_MIXED : IORING_SETUP_CQE32;
	flags |= options->no_array ? SETUP_NO_SQARRAY : 0;
	CHECK(ring_open(&queue->ring, 8, flags, options->cq) == 0);
	register_queue(queue, options);
}

static int control(const struct queue *queue, struct ctrl *ctrl)
{
	ctrl->zcrx_id = queue->id;
	return (int)syscall(__NR_io_uring_register, queue->ring.fd, REGISTER_ZCRX_CTRL, ctrl, 0);
}

/* The ring becomes another one, which has the queue of the first: that is closed. */
static void import_queue(struct queue *queue, const struct options *options)
{
	struct ctrl export = {.op = 1}, *constant;
	struct ifq_reg import = {.if_idx = 0, .flags = 1};
	struct ring first = queue->ring;
	int before = dup(0);

	close(before);
	constant = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(constant != MAP_FAILED);
	*constant = (struct ctrl){.zcrx_id = queue->id, .op = 1};
	mprotect(constant, PAGE, PROT_READ);
	/* What cannot be told is not given: no descriptor is left behind. */
	CHECK(syscall(__NR_io_uring_register, first.fd, REGISTER_ZCRX_CTRL, constant, 0) == -1 &&
	      errno == EFAULT);
	CHECK(control(queue, &export) == 0 && (int)export.fd == before);
	CHECK(ring_open(&queue->ring, 8, first.params.flags, options->cq) == 0);
	CHECK(syscall(__NR_io_uring_register, queue->ring.fd, REGISTER_ZCRX_IFQ, &import, 1) ==
		      -1 &&
	      errno == EBADF);
	import.if_idx = export.fd;
	CHECK(syscall(__NR_io_uring_register, queue->ring.fd, REGISTER_ZCRX_IFQ, &import, 1) == 0);
	queue->id = import.zcrx_id;
	close((int)export.fd);
	ring_close(&first);
}

static void give_back(struct queue *queue, uint64_t off, uint32_t len)
{
	uint32_t head = atomic_load_explicit(queue->rq_head, memory_order_acquire);
	struct zcrx_rqe *rqe = &queue->rqes[queue->tail & (queue->rq_entries - 1)];

	CHECK(queue->tail - head < queue->rq_entries);
	rqe->off = (off & AREA_MASK) | queue->token;
	rqe->len = len;
	rqe->pad = 0;
	atomic_store_explicit(queue->rq_tail, ++queue->tail, memory_order_release);
}

static void arm(struct queue *queue, int fd, const struct options *options)
{
	struct io_uring_sqe *sqe = ring_sqe(&queue->ring, OP_RECV_ZC, fd, 7);

	sqe->ioprio = 2; /* multishot */
	sqe->len = options->limit ? LIMIT : 0;
	sqe->splice_fd_in = (int32_t)queue->id;
}

/* ---- receiving ----------------------------------------------------------------------------------- */

static int accept_one(struct queue *queue, int listener)
{
	struct io_uring_cqe *cqe;
	int fd;

	ring_sqe(&queue->ring, IORING_OP_ACCEPT, listener, 1);
	CHECK(ring_enter(&queue->ring, 1) == 1);
	cqe = ring_cqe(&queue->ring);
	CHECK(cqe && cqe->user_data == 1 && cqe->res >= 0);
	fd = cqe->res;
	ring_seen(&queue->ring);
	return fd;
}

static void look_at(const uint8_t *bytes, uint32_t len, uint64_t place)
{
	for (uint32_t i = 0; i < len; i++)
		CHECK(bytes[i] == byte_at(place + i));
}

struct progress {
	uint64_t bytes, fragments, armed;
	uint64_t before; /* bytes that earlier receives had */
	bool is_over;
};

/* The area is taken away at the first completion; the receive ends when a buffer is to be filled. */
static void take_without_area(struct queue *queue, const struct options *options,
			      const struct io_uring_cqe *cqe)
{
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		CHECK(cqe->res == -EFAULT);
		exit(0);
	}
	munmap(queue->area, (size_t)options->area * PAGE);
}

static void take(struct queue *queue, int fd, const struct options *options,
		 const struct io_uring_cqe *cqe, struct progress *progress)
{
	const struct zcrx_cqe *zcrx = (const struct zcrx_cqe *)(cqe + 1);

	CHECK(cqe->user_data == 7);
	if (cqe->flags & IORING_CQE_F_MORE) {
		CHECK(cqe->res > 0);
		if (!options->blind)
			look_at(queue->area + (zcrx->off & AREA_MASK), (uint32_t)cqe->res,
				progress->bytes);
		progress->bytes += (uint64_t)cqe->res;
		progress->fragments++;
		if (!options->keep || progress->fragments % 16)
			give_back(queue, zcrx->off, (uint32_t)cqe->res);
		if (options->no_device)
			CHECK(control(queue, &(struct ctrl){.op = 0}) == 0);
		if (options->twice && progress->fragments % 16 == 0)
			give_back(queue, zcrx->off, (uint32_t)cqe->res);
		return;
	}
	/* No room in the queue, no buffer for a copy: both pass. */
	CHECK(cqe->res == 0 || cqe->res == -ENOSPC || cqe->res == -ENOMEM);
	CHECK(!options->limit || progress->bytes - progress->before <= LIMIT);
	if (cqe->res == 0 && !(options->limit && progress->bytes - progress->before == LIMIT)) {
		progress->is_over = true;
		return;
	}
	progress->before = progress->bytes;
	progress->armed++;
	arm(queue, fd, options);
}

/* In a ring of mixed sizes a completion of data is two entries long, and a skipped one is none. */
static void take_all(struct queue *queue, int fd, const struct options *options,
		     struct progress *progress)
{
	struct io_uring_cqe *cqe;

	while (!progress->is_over && (cqe = ring_cqe(&queue->ring))) {
		uint32_t flags = cqe->flags;

		if (!(options->mixed && flags & (1U << 5)))
			options->unmap ? take_without_area(queue, options, cqe) :
					 take(queue, fd, options, cqe, progress);
		if (options->mixed && flags & (1U << 15))
			ring_seen(&queue->ring);
		ring_seen(&queue->ring);
	}
}

static void receive_all(int listener, struct options *options, struct progress *progress)
{
	struct queue queue = {0};
	int fd;

	open_queue(&queue, options);
	if (options->import)
		import_queue(&queue, options);
	fd = accept_one(&queue, listener);
	arm(&queue, fd, options);
	while (!progress->is_over) {
		CHECK(ring_enter(&queue.ring, 1) >= 0);
		take_all(&queue, fd, options, progress);
	}
}

static void receive_plainly(int listener, const struct options *options, struct progress *progress)
{
	static uint8_t bytes[262144];
	int fd = accept(listener, NULL, NULL);
	ssize_t size;

	while ((size = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		if (!options->blind)
			look_at(bytes, (uint32_t)size, progress->bytes);
		progress->bytes += (uint64_t)size;
		progress->fragments++;
	}
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct options options = read_options(argc, argv);
	struct progress progress = {.armed = 1};
	double begin = now();
	pid_t child;
	int listener = start_sender(options.bytes, options.blind, &child);

	if (options.plain)
		receive_plainly(listener, &options, &progress);
	else
		receive_all(listener, &options, &progress);
	CHECK(progress.bytes == options.bytes);
	CHECK(waitpid(child, NULL, 0) == child);
	printf("%llu bytes, %llu fragments, armed %llu times, %.2f GB/s\n",
	       (unsigned long long)progress.bytes, (unsigned long long)progress.fragments,
	       (unsigned long long)progress.armed, (double)progress.bytes / (now() - begin) / 1e9);
	return 0;
}
