/* SPDX-License-Identifier: MIT */
/*
 * The order of the checks is part of what a program can see: of a struct with several
 * mistakes the kernel names one by its code, and so do we. The kernel's capability check
 * is left out on purpose: that this needs no privileges is what it is for.
 */
#include "registration.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "area.h"
#include "descriptors.h"
#include "events.h"
#include "nic.h"
#include "queue.h"
#include "sharing.h"
#include "trouble.h"
#include "watch.h"

#define POISON_DEFAULT 0xdbU
#define AREA_MAX ((uint64_t)1 << 30)
#define PTR_RING ZCRX_PTR_RING_DEFAULT

/* What the program passed, copied once. */
struct request {
	uint64_t at;
	struct io_uring_zcrx_ifq_reg reg;
	struct io_uring_region_desc region;
	struct io_uring_zcrx_area_reg area;
	struct zcrx_event_desc events; /* 0: none are wanted */
};

#define REFUSE(error, ...) zcrx_lib_refuse(emu, -(error), __VA_ARGS__)

static int read_struct(struct zcrx_emu *emu, const char *what, void *to, uint64_t from, size_t size)
{
	if (emu->memory.read(emu->memory.context, to, from, size))
		return REFUSE(EFAULT, "%s (0x%llx): %zu bytes cannot be read there", what,
			      (unsigned long long)from, size);
	return 0;
}

static uint32_t round_up(uint32_t entries)
{
	uint32_t power = 1;

	while (power < entries)
		power *= 2;
	return power;
}

/* ---- the ring, and the struct itself -------------------------------------------------- */

static int check_ring(struct zcrx_emu *emu)
{
	uint32_t flags = emu->options.ring_flags;
	const struct zcrx_lib_level *level = emu->level;

	if (!(flags & IORING_SETUP_DEFER_TASKRUN))
		return REFUSE(EINVAL,
			      "ring flags 0x%x: the ring must have been made with "
			      "IORING_SETUP_DEFER_TASKRUN (0x%x)",
			      flags, IORING_SETUP_DEFER_TASKRUN);
	if (!(flags & level->cqe_flags))
		return REFUSE(EINVAL,
			      "ring flags 0x%x: the ring must have been made with "
			      "IORING_SETUP_CQE32 (0x%x)%s",
			      flags, IORING_SETUP_CQE32,
			      level->cqe_flags & IORING_SETUP_CQE_MIXED ? " or _CQE_MIXED" : "");
	if (!level->has_many_queues && emu->ifq_count)
		return REFUSE(EBUSY, "a ring has one interface queue at level %s", level->name);
	if (emu->ifq_count == ZCRX_LIB_IFQS_MAX)
		return REFUSE(ENOMEM, "there are %u interface queues already: no more here",
			      ZCRX_LIB_IFQS_MAX);
	return 0;
}

static int check_reserved(struct zcrx_emu *emu, const struct io_uring_zcrx_ifq_reg *reg)
{
	const struct zcrx_lib_level *level = emu->level;

	/* From 7.2 on the first of these words points to the description of events. */
	if (!zcrx_lib_is_zero(reg->__resv + level->has_events,
			      sizeof(reg->__resv) - level->has_events * sizeof(reg->__resv[0])))
		return REFUSE(EINVAL, "__resv: must be 0");
	if (!level->has_rx_buf_len && reg->rx_buf_len)
		return REFUSE(EINVAL,
			      "rx_buf_len: %u; at level %s this word is reserved and must be 0",
			      reg->rx_buf_len, level->name);
	if (reg->zcrx_id)
		return REFUSE(EINVAL, "zcrx_id: %u; it is the kernel's to choose, must be 0",
			      reg->zcrx_id);
	return 0;
}

static int check_reg(struct zcrx_emu *emu, struct io_uring_zcrx_ifq_reg *reg)
{
	if (reg->if_rxq == UINT32_MAX)
		return REFUSE(EINVAL, "if_rxq: %u is no queue", reg->if_rxq);
	if (reg->rq_entries == 0)
		return REFUSE(EINVAL, "rq_entries: 0; must be 1 to %u", IO_RQ_MAX_ENTRIES);
	if (reg->flags & ZCRX_REG_NODEV && (reg->if_idx || reg->if_rxq))
		return REFUSE(EINVAL, "if_idx %u, if_rxq %u: must be 0 with ZCRX_REG_NODEV",
			      reg->if_idx, reg->if_rxq);
	if (reg->rq_entries > IO_RQ_MAX_ENTRIES) {
		if (!(emu->options.ring_flags & IORING_SETUP_CLAMP))
			return REFUSE(EINVAL,
				      "rq_entries: %u; must be 1 to %u in a ring without "
				      "IORING_SETUP_CLAMP",
				      reg->rq_entries, IO_RQ_MAX_ENTRIES);
		reg->rq_entries = IO_RQ_MAX_ENTRIES;
	}
	reg->rq_entries = round_up(reg->rq_entries);
	if (emu->options.rq_entries_max && reg->rq_entries > emu->options.rq_entries_max)
		reg->rq_entries = emu->options.rq_entries_max;
	return 0;
}

static int read_region(struct zcrx_emu *emu, struct request *request)
{
	return read_struct(emu, "region_ptr", &request->region, request->reg.region_ptr,
			   sizeof(request->region));
}

static int check_flags(struct zcrx_emu *emu, const struct io_uring_zcrx_ifq_reg *reg)
{
	uint32_t unknown = reg->flags & ~emu->level->reg_flags;

	if (unknown)
		return REFUSE(EINVAL, "flags: 0x%x; level %s has %s0x%x", reg->flags,
			      emu->level->name,
			      emu->level->reg_flags ? "" : "none: ", emu->level->reg_flags);
	return 0;
}

/* All that is read before anything is made. */
static int read_request(struct zcrx_emu *emu, struct request *request)
{
	struct io_uring_zcrx_ifq_reg *reg = &request->reg;
	bool is_later = emu->level->reg_flags != 0;
	int error = read_struct(emu, "the struct", reg, request->at, sizeof(*reg));

	/* An import has no region: where there are imports, the flags come first. */
	if (!error && !is_later)
		error = read_region(emu, request);
	if (!error)
		error = check_reserved(emu, reg);
	if (!error && is_later)
		error = check_flags(emu, reg);
	if (!error && is_later && reg->flags & ZCRX_REG_IMPORT)
		return 0;
	if (!error && is_later)
		error = read_region(emu, request);
	if (!error)
		error = check_reg(emu, reg);
	if (!error && !is_later)
		error = check_flags(emu, reg);
	if (!error)
		error = read_struct(emu, "area_ptr", &request->area, reg->area_ptr,
				    sizeof(request->area));
	if (!error && emu->level->has_events && reg->__resv[0])
		error = read_struct(emu, "event_desc", &request->events, reg->__resv[0],
				    sizeof(request->events));
	return error ? error : zcrx_lib_events_check(emu, &request->events);
}

/* ---- the ring's memory ------------------------------------------------------------------- */

static int check_region(struct zcrx_emu *emu, const struct request *request)
{
	const struct io_uring_region_desc *region = &request->region;
	uint64_t need = emu->level->rqes_at +
			(uint64_t)request->reg.rq_entries * sizeof(struct io_uring_zcrx_rqe);

	if (need > region->size)
		return REFUSE(EINVAL,
			      "region size: %llu; %u entries behind a header of %u need %llu bytes",
			      (unsigned long long)region->size, request->reg.rq_entries,
			      emu->level->rqes_at, (unsigned long long)need);
	if (!zcrx_lib_is_zero(region->__resv, sizeof(region->__resv)))
		return REFUSE(EINVAL, "region __resv: must be 0");
	if (region->flags & ~IORING_MEM_REGION_TYPE_USER)
		return REFUSE(EINVAL, "region flags: 0x%x; IORING_MEM_REGION_TYPE_USER (1) or 0",
			      region->flags);
	if ((region->flags != 0) != (region->user_addr != 0))
		return REFUSE(EFAULT,
			      "region user_addr 0x%llx with flags %u: an address goes with "
			      "IORING_MEM_REGION_TYPE_USER (1), and none without",
			      (unsigned long long)region->user_addr, region->flags);
	if (region->mmap_offset || region->id)
		return REFUSE(EINVAL, "region mmap_offset, id: the kernel's to choose, must be 0");
	if (region->size / ZCRX_LIB_PAGE > INT_MAX)
		return REFUSE(E2BIG, "region size: %llu; %d pages at most",
			      (unsigned long long)region->size, INT_MAX);
	if ((region->user_addr | region->size) % ZCRX_LIB_PAGE)
		return REFUSE(EINVAL, "region user_addr 0x%llx, size %llu: must be multiples of %u",
			      (unsigned long long)region->user_addr,
			      (unsigned long long)region->size, ZCRX_LIB_PAGE);
	if (region->user_addr + region->size < region->user_addr)
		return REFUSE(
			EOVERFLOW, "region user_addr 0x%llx, size %llu: beyond the last address",
			(unsigned long long)region->user_addr, (unsigned long long)region->size);
	return 0;
}

static int pin(struct zcrx_emu *emu, const char *what, uint64_t at, uint64_t size)
{
	if (emu->memory.pin && emu->memory.pin(emu->memory.context, at, size))
		return REFUSE(
			EFAULT,
			"%s 0x%llx: %llu bytes from there are not all memory that may be written",
			what, (unsigned long long)at, (unsigned long long)size);
	return 0;
}

/* Memory of ours that the program maps at an offset of its ring; NULL: there is none. */
static void *share(struct zcrx_emu *emu, uint64_t size, uint64_t *offset)
{
	void *made;

	if (emu->options.share)
		return emu->options.share(emu->options.context, size, offset);
	*offset = zcrx_lib_region_offset(emu->ifq_count);
	/* Shared: a program that forks has the same ring in both. */
	made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return made == MAP_FAILED ? NULL : made;
}

static int make_region(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct request *request)
{
	struct io_uring_region_desc *region = &request->region;
	int error = check_region(emu, request);

	if (error)
		return error;
	queue->region_size = region->size;
	if (region->user_addr) {
		error = pin(emu, "region user_addr", region->user_addr, region->size);
		if (!error)
			queue->region =
				zcrx_lib_window_of(&emu->memory, region->user_addr, region->size);
		return error;
	}
	queue->made = share(emu, region->size, &region->mmap_offset);
	if (!queue->made)
		return REFUSE(ENOMEM, "region size: %llu; not that much memory",
			      (unsigned long long)region->size);
	queue->region = zcrx_lib_window_on(queue->made);
	return 0;
}

/* ---- the area ------------------------------------------------------------------------------ */

static int check_range(struct zcrx_emu *emu, const struct io_uring_zcrx_area_reg *area)
{
	if (area->len == 0 || area->len > AREA_MAX)
		return REFUSE(EFAULT, "area len: %llu; must be %u to %llu",
			      (unsigned long long)area->len, ZCRX_LIB_PAGE,
			      (unsigned long long)AREA_MAX);
	if (area->addr + area->len < area->addr)
		return REFUSE(EOVERFLOW, "area addr 0x%llx, len %llu: beyond the last address",
			      (unsigned long long)area->addr, (unsigned long long)area->len);
	return 0;
}

static int check_pages(struct zcrx_emu *emu, const struct io_uring_zcrx_area_reg *area)
{
	if ((area->addr | area->len) % ZCRX_LIB_PAGE)
		return REFUSE(EINVAL, "area addr 0x%llx, len %llu: must be multiples of %u",
			      (unsigned long long)area->addr, (unsigned long long)area->len,
			      ZCRX_LIB_PAGE);
	return 0;
}

/* Of a dma-buf all is checked as the kernel does, and then there is no memory behind it. */
static int check_dmabuf(struct zcrx_emu *emu, const struct io_uring_zcrx_area_reg *area)
{
	int64_t size;

	if (area->addr)
		return REFUSE(EINVAL, "area addr: 0x%llx; must be 0 for a dma-buf",
			      (unsigned long long)area->addr);
	size = zcrx_lib_dmabuf_size(emu, (int)area->dmabuf_fd);
	if (size == -EBADF)
		return REFUSE(EBADF, "area dmabuf_fd: %u is no descriptor", area->dmabuf_fd);
	if (size < 0)
		return REFUSE(EINVAL, "area dmabuf_fd: %u is no dma-buf", area->dmabuf_fd);
	if ((uint64_t)size != area->len)
		return REFUSE(EINVAL, "area len: %llu; the dma-buf has %lld bytes",
			      (unsigned long long)area->len, (long long)size);
	return REFUSE(EOPNOTSUPP, "area dmabuf_fd: no bytes can be put into a dma-buf here");
}

static int check_token(struct zcrx_emu *emu, const struct io_uring_zcrx_area_reg *area)
{
	if (area->rq_area_token)
		return REFUSE(EINVAL,
			      "area rq_area_token: 0x%llx; the kernel's to choose, must be 0",
			      (unsigned long long)area->rq_area_token);
	return 0;
}

static int check_area(struct zcrx_emu *emu, const struct io_uring_zcrx_area_reg *area)
{
	int error;

	if (area->flags & ~emu->level->area_flags)
		return REFUSE(EINVAL, "area flags: 0x%x; level %s has %s0x%x", area->flags,
			      emu->level->name,
			      emu->level->area_flags ? "" : "none: ", emu->level->area_flags);
	if (!zcrx_lib_is_zero(area->__resv2, sizeof(area->__resv2)))
		return REFUSE(EINVAL, "area __resv2: must be 0");
	if (!emu->level->area_flags && area->dmabuf_fd)
		return REFUSE(EINVAL,
			      "area dmabuf_fd: %u; at level %s this word is reserved and must be 0",
			      area->dmabuf_fd, emu->level->name);
	error = emu->level->wants_range_first ? check_range(emu, area) : check_pages(emu, area);
	if (!error)
		error = emu->level->wants_range_first ? check_pages(emu, area) :
							check_range(emu, area);
	if (error)
		return error;
	if (area->flags & ZCRX_AREA_DMABUF)
		return check_dmabuf(emu, area);
	if (area->dmabuf_fd)
		return REFUSE(EINVAL, "area dmabuf_fd: %u; must be 0 for memory", area->dmabuf_fd);
	return pin(emu, "area addr", area->addr, area->len);
}

static int choose_buffer_size(struct zcrx_emu *emu, struct request *request, uint32_t *shift)
{
	uint32_t size = request->reg.rx_buf_len;

	*shift = 12;
	if (size == 0) {
		if (emu->level->has_rx_buf_len)
			request->reg.rx_buf_len = ZCRX_LIB_PAGE;
		return 0;
	}
	if (!zcrx_is_power_of_two(size) || size < ZCRX_LIB_PAGE)
		return REFUSE(EINVAL, "rx_buf_len: %u; a power of two from %u on, or 0", size,
			      ZCRX_LIB_PAGE);
	if (size != ZCRX_LIB_PAGE && request->reg.flags & ZCRX_REG_NODEV)
		return REFUSE(EOPNOTSUPP, "rx_buf_len: %u; must be %u with ZCRX_REG_NODEV", size,
			      ZCRX_LIB_PAGE);
	*shift = (uint32_t)__builtin_ctz(size);
	return 0;
}

static int check_pieces(struct zcrx_emu *emu, const struct io_uring_zcrx_area_reg *area,
			uint32_t shift)
{
	uint64_t rest = (area->len | area->addr) & (((uint64_t)1 << shift) - 1);

	if (rest)
		return REFUSE(ERANGE,
			      "rx_buf_len: %u; the area (0x%llx, %llu bytes) is not made of pieces "
			      "of that size",
			      1U << shift, (unsigned long long)area->addr,
			      (unsigned long long)area->len);
	return 0;
}

/* ---- the kernel's side of it ------------------------------------------------------------------ */

/* One block for all the pieces: what each needs, one behind the other. */
static void *carve(uint8_t *memory, size_t *used, size_t size)
{
	void *piece = memory ? memory + *used : NULL;

	*used += (size + SHM_CACHE_LINE - 1) / SHM_CACHE_LINE * SHM_CACHE_LINE;
	return piece;
}

static size_t place(struct zcrx_lib_ifq *queue, uint8_t *memory)
{
	struct zcrx_ifq *ifq = &queue->ifq;
	struct zcrx_area *area = &queue->area;
	size_t used = 0;

	ifq->shared = carve(memory, &used, sizeof(*ifq->shared));
	area->shared = carve(memory, &used, sizeof(*area->shared));
	ifq->rq.rqes = carve(memory, &used, ifq->rq.entries * sizeof(*ifq->rq.rqes));
	ifq->verdict_log = carve(memory, &used, ZCRX_LIB_LOG);
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		ifq->pools[slot].shared = carve(memory, &used, sizeof(*ifq->pools[slot].shared));
	/* The others have theirs when the queue is restarted: see zcrx_lib_queue_restart(). */
	ifq->pools[0].ring = carve(memory, &used, PTR_RING * sizeof(*ifq->pools[0].ring));
	ifq->pools[0].ring_size = PTR_RING;
	return used;
}

/* The queue has one area more. */
static int place_area(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
		      const struct io_uring_zcrx_area_reg *area)
{
	if (zcrx_lib_area_add(emu, queue, area->addr, area->len) < 0)
		return REFUSE(ENOMEM, "area len: no memory for the bookkeeping of %llu buffers",
			      (unsigned long long)(area->len >> queue->area.niov_shift));
	return 0;
}

static int make_provider(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct request *request)
{
	struct zcrx_ifq *ifq = &queue->ifq;
	struct zcrx_area *area = &queue->area;
	uint32_t shift;
	size_t size;
	int error = choose_buffer_size(emu, request, &shift);

	if (!error)
		error = check_token(emu, &request->area);
	if (!error)
		error = check_area(emu, &request->area);
	if (!error)
		error = check_pieces(emu, &request->area, shift);
	if (error)
		return error;
	area->niov_shift = shift;
	area->contract = emu->contract;
	area->areas_max = zcrx_level_of(emu->contract.level)->has_areas ? ZCRX_AREAS_MAX : 0;
	queue->ledger.area = ifq->area = area;
	ifq->rq.entries = request->reg.rq_entries;
	ifq->rq.mask = ifq->rq.entries - 1;
	size = place(queue, NULL);
	queue->block = aligned_alloc(SHM_CACHE_LINE, size);
	if (!queue->block)
		return REFUSE(ENOMEM, "no memory for a page pool");
	memset(queue->block, 0, size);
	place(queue, queue->block);
	ifq->rq.head = &queue->copy_head;
	ifq->rq.tail = &queue->copy_tail;
	ifq->log_mask = ZCRX_LIB_LOG - 1;
	queue->trace = (struct zcrx_trace){.entries = queue->judged, .capacity = ZCRX_LIB_LOOK_MAX};
	ifq->trace = &queue->trace;
	zcrx_ifq_setup(ifq);
	zcrx_ifq_format(ifq);
	return place_area(emu, queue, &request->area);
}

/* ---- the device ----------------------------------------------------------------------------------- */

static int find_device(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue,
		       const struct io_uring_zcrx_ifq_reg *reg)
{
	queue->if_idx = reg->if_idx;
	queue->if_rxq = reg->if_rxq;
	queue->is_nodev = (reg->flags & ZCRX_REG_NODEV) != 0;
	if (!queue->is_nodev && reg->if_idx == 0)
		return REFUSE(ENODEV, "if_idx: 0 is no interface; any other number is one here");
	return 0;
}

static int open_queue(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue)
{
	int error;

	for (const struct zcrx_lib_ifq *other = emu->machine->queues; other; other = other->next) {
		if (!queue->is_nodev && !other->is_nodev && other->if_idx == queue->if_idx &&
		    other->if_rxq == queue->if_rxq)
			return REFUSE(EEXIST, "if_idx %u, if_rxq %u: that queue is registered",
				      queue->if_idx, queue->if_rxq);
	}
	error = zcrx_ifq_restart(&queue->ifq);
	return error < 0 ? REFUSE(-error, "the page pool could not be made") : 0;
}

static int make_device(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, struct request *request)
{
	int error = emu->level->looks_for_device_first ? find_device(emu, queue, &request->reg) : 0;

	if (!error)
		error = make_provider(emu, queue, request);
	if (!error && !emu->level->looks_for_device_first)
		error = find_device(emu, queue, &request->reg);
	return error ? error : open_queue(emu, queue);
}

/* What any registration tells: under which id, and where the refill ring's words are. */
static int answer_reg(struct zcrx_emu *emu, struct request *request)
{
	const struct zcrx_emu_memory *memory = &emu->memory;
	struct io_uring_zcrx_ifq_reg *reg = &request->reg;

	reg->offsets.head = 0;
	reg->offsets.tail = emu->level->tail_at;
	reg->offsets.rqes = emu->level->rqes_at;
	reg->zcrx_id = emu->ifq_count;
	if (memory->write(memory->context, request->at, reg, sizeof(*reg)))
		return REFUSE(EFAULT, "the struct cannot be written");
	return 0;
}

static int answer(struct zcrx_emu *emu, struct request *request)
{
	const struct zcrx_emu_memory *memory = &emu->memory;
	const struct io_uring_zcrx_ifq_reg *reg = &request->reg;
	int error = answer_reg(emu, request);

	if (error)
		return error;
	request->area.rq_area_token = 0; /* area 0 */
	if (memory->write(memory->context, reg->region_ptr, &request->region,
			  sizeof(request->region)) ||
	    memory->write(memory->context, reg->area_ptr, &request->area, sizeof(request->area)))
		return REFUSE(EFAULT, "the structs cannot be written");
	return 0;
}

static struct zcrx_lib_ifq *new_queue(const struct zcrx_emu *emu)
{
	struct zcrx_lib_ifq *queue = calloc(1, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->level = emu->level;
	queue->memory = emu->memory;
	queue->flags = emu->options.flags;
	zcrx_lib_watch_start(queue, emu->options.poison ? emu->options.poison : POISON_DEFAULT);
	return queue;
}

/* A step of registering, which a plan may have fail. */
static int take_step(struct zcrx_emu *emu, const char *what)
{
	return zcrx_lib_trouble_setup(emu) ? REFUSE(ENOMEM, "%s: no memory, by the plan", what) : 0;
}

/* The driver says no to what is right, where a plan has it do so. */
static int ask_driver(struct zcrx_emu *emu)
{
	int error = (int)zcrx_lib_trouble_register(emu);

	return error ? REFUSE(error, "the driver refuses (errno %d), by the plan", error) : 0;
}

static int make_queue(struct zcrx_emu *emu, struct request *request)
{
	struct zcrx_lib_ifq *queue = new_queue(emu);
	int error;

	if (!queue)
		return REFUSE(ENOMEM, "no memory for an interface queue");
	error = take_step(emu, "the region");
	if (!error)
		error = make_region(emu, queue, request);
	if (!error)
		error = zcrx_lib_events_start(emu, queue, &request->events,
					      request->reg.rq_entries);
	if (!error)
		error = take_step(emu, "the area");
	if (!error)
		error = make_device(emu, queue, request);
	if (!error)
		error = take_step(emu, "the page pool");
	if (!error && emu->options.buffers_max)
		zcrx_lib_trouble_shrink(queue, emu->options.buffers_max);
	if (!error && zcrx_lib_trouble_start(emu, queue))
		error = REFUSE(ENOMEM, "no memory for the plan");
	if (!error)
		error = ask_driver(emu);
	if (!error)
		error = answer(emu, request);
	if (!error && zcrx_lib_queue_start(queue))
		error = REFUSE(EFAULT, "region user_addr: the header cannot be written");
	if (!error && zcrx_lib_nic_make(emu, queue))
		error = REFUSE(ENOMEM, "no memory for the NIC's descriptors");
	if (error) {
		zcrx_lib_queue_free(queue);
		return error;
	}
	zcrx_lib_attach(emu, queue);
	zcrx_lib_nic_start(queue);
	return 0;
}

/* Another ring's queue: nothing is described, and nothing told but the id and the offsets. */
static int import_queue(struct zcrx_emu *emu, struct request *request)
{
	const struct io_uring_zcrx_ifq_reg *reg = &request->reg;
	struct zcrx_lib_ifq *queue;
	int error;

	if (reg->if_rxq || reg->rq_entries || reg->area_ptr || reg->region_ptr)
		return REFUSE(EINVAL, "if_rxq, rq_entries, area_ptr, region_ptr: must be 0 with "
				      "ZCRX_REG_IMPORT");
	if (reg->__resv[0])
		return REFUSE(EINVAL, "event_desc: must be 0 with ZCRX_REG_IMPORT");
	if (reg->flags != ZCRX_REG_IMPORT)
		return REFUSE(EINVAL, "flags: 0x%x; ZCRX_REG_IMPORT goes with no other",
			      reg->flags);
	queue = zcrx_lib_exported(emu, (int)reg->if_idx);
	if (!queue)
		return REFUSE(EBADF, "if_idx: %u is no descriptor that an export gave",
			      reg->if_idx);
	error = answer_reg(emu, request);
	if (!error)
		zcrx_lib_attach(emu, queue);
	return error;
}

int zcrx_lib_register_ifq(struct zcrx_emu *emu, uint64_t address)
{
	struct request request = {.at = address};
	int error = check_ring(emu);

	if (!error)
		error = read_request(emu, &request);
	if (error)
		return error;
	zcrx_lib_exports_reap(emu->machine);
	return request.reg.flags & ZCRX_REG_IMPORT ? import_queue(emu, &request) :
						     make_queue(emu, &request);
}

/* ---- another area -------------------------------------------------------------------------------------- */

/*
 * The token is told first, since an area that was added could not be taken away again: a
 * program that finds one in its struct knows nothing by that.
 */
static int tell_token(struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue,
		      struct io_uring_zcrx_area_reg *area, uint64_t address)
{
	const struct zcrx_emu_memory *memory = &emu->memory;

	area->rq_area_token = (uint64_t)queue->area_count << IORING_ZCRX_AREA_SHIFT;
	if (memory->write(memory->context, address, area, sizeof(*area)))
		return REFUSE(EFAULT, "area_ptr (0x%llx): it cannot be written",
			      (unsigned long long)address);
	return 0;
}

static int add_area(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, const struct zcrx_ctrl *ctrl)
{
	struct io_uring_zcrx_area_reg area;
	uint64_t address = ctrl->payload[0];
	int error = read_struct(emu, "area_ptr", &area, address, sizeof(area));

	if (error)
		return error;
	if (!zcrx_lib_is_zero(ctrl->payload + 1, sizeof(ctrl->payload) - sizeof(address)))
		return REFUSE(EINVAL, "payload of ZCRX_CTRL_ADD_AREA: must be 0 behind area_ptr");
	error = check_token(emu, &area);
	if (!error)
		error = tell_token(emu, queue, &area, address);
	if (!error)
		error = check_area(emu, &area);
	if (!error)
		error = check_pieces(emu, &area, queue->area.niov_shift);
	if (error)
		return error;
	if (queue->area_count == ZCRX_AREAS_MAX)
		return REFUSE(EINVAL, "there are %u areas already", ZCRX_AREAS_MAX);
	error = place_area(emu, queue, &area);
	if (error)
		return error;
	/* Without memory for more in the descriptors there are as many as before. */
	zcrx_lib_nic_grow(queue);
	zcrx_lib_nic_refill(queue);
	return 0;
}

/* ---- what is asked of it later ------------------------------------------------------------------------ */

int zcrx_lib_register_ctrl(struct zcrx_emu *emu, uint64_t address, uint32_t nr_args)
{
	struct zcrx_lib_ifq *queue;
	struct zcrx_ctrl ctrl;
	int error;

	if (nr_args)
		return REFUSE(EINVAL, "nr_args: %u; must be 0 for ZCRX_CTRL", nr_args);
	error = read_struct(emu, "the struct", &ctrl, address, sizeof(ctrl));
	if (error)
		return error;
	if (!zcrx_lib_is_zero(ctrl.__resv, sizeof(ctrl.__resv)))
		return REFUSE(EFAULT, "__resv: must be 0");
	queue = zcrx_lib_ifq_of(emu, ctrl.zcrx_id);
	if (!queue)
		return REFUSE(ENXIO, "zcrx_id: %u is not registered", ctrl.zcrx_id);
	if (ctrl.op >= emu->level->ctrl_ops)
		return REFUSE(EOPNOTSUPP, "op: %u; level %s has 0 to %u", ctrl.op, emu->level->name,
			      emu->level->ctrl_ops - 1);
	if (ctrl.op == ZCRX_CTRL_ARM_EVENT)
		return zcrx_lib_event_arm(emu, queue, &ctrl);
	if (ctrl.op == ZCRX_CTRL_ADD_AREA)
		return add_area(emu, queue, &ctrl);
	if (!zcrx_lib_is_zero(ctrl.payload, sizeof(ctrl.payload)))
		return REFUSE(EINVAL, "payload of ZCRX_CTRL_%s: must be 0",
			      ctrl.op == ZCRX_CTRL_EXPORT ? "EXPORT" : "FLUSH_RQ");
	if (ctrl.op == ZCRX_CTRL_EXPORT)
		return zcrx_lib_export(emu, queue, address, &ctrl);
	error = zcrx_lib_queue_flush(queue);
	return error ? REFUSE(-error, "no memory for a flush") : 0;
}
