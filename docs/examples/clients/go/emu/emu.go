// SPDX-License-Identifier: MIT

// Package emu is libzcrx_emu in the place of the kernel, by cgo:
//
//	CGO_CFLAGS=$(zcrx-emu config --cflags) CGO_LDFLAGS=$(zcrx-emu config --libs) go build
package emu

/*
#include <stdlib.h>
#include <zcrx_emu.h>

#define CQ_ENTRIES 8U

// In C's memory: the library writes into it between calls.
struct queue {
	uint32_t head, tail;
	struct zcrx_emu_cqe cqes[CQ_ENTRIES];
};

static int create(const char *level, uint64_t seed, struct queue *queue, struct zcrx_emu **emu)
{
	struct zcrx_emu_options options = {.size = sizeof(options), .kernel = level, .seed = seed};
	struct zcrx_emu_cq cq = {&queue->head, &queue->tail, queue->cqes, CQ_ENTRIES, NULL};
	int error = zcrx_emu_create(&options, emu);

	return error ? error : zcrx_emu_set_cq(*emu, &cq);
}

static int next(struct queue *queue, struct zcrx_emu_cqe *cqe)
{
	if (queue->head == __atomic_load_n(&queue->tail, __ATOMIC_ACQUIRE))
		return 0;
	*cqe = queue->cqes[queue->head % CQ_ENTRIES];
	__atomic_store_n(&queue->head, queue->head + 1, __ATOMIC_RELEASE);
	return 1;
}
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"syscall"
	"unsafe"

	"zcrx-client/pool"
)

// Instance is one ring.
type Instance struct {
	emu   *C.struct_zcrx_emu
	queue *C.struct_queue
}

// Completion is what one entry of the completion queue says.
type Completion struct {
	UserData, Off uint64
	Res           int32
}

// Report is one thing that the checker says.
type Report struct {
	Kind, Text, Advice string
}

// New makes a ring of that kernel level.
func New(level string, seed uint64) (*Instance, error) {
	name := C.CString(level)
	defer C.free(unsafe.Pointer(name))
	i := &Instance{queue: (*C.struct_queue)(C.calloc(1, C.sizeof_struct_queue))}
	if code := C.create(name, C.uint64_t(seed), i.queue, &i.emu); code != 0 {
		C.free(unsafe.Pointer(i.queue))
		return nil, fmt.Errorf("level %s: %w", level, syscall.Errno(-code))
	}
	return i, nil
}

// Close closes the ring.
func (i *Instance) Close() {
	C.zcrx_emu_destroy(i.emu)
	C.free(unsafe.Pointer(i.queue))
}

// RegisterIfq is io_uring_register_ifq().
func (i *Instance) RegisterIfq(reg *pool.IfqReg) error {
	code := C.zcrx_emu_register_ifq(i.emu, (*C.struct_io_uring_zcrx_ifq_reg)(unsafe.Pointer(reg)))
	if code != 0 {
		return fmt.Errorf("%w: %s", syscall.Errno(-code), C.GoString(C.zcrx_emu_why(i.emu)))
	}
	return nil
}

// Arm submits a multishot receive of a flow.
func (i *Instance) Arm(id, flow uint32) {
	recv := C.struct_zcrx_emu_recv{
		zcrx_id: C.uint32_t(id), flow: C.uint32_t(flow), user_data: C.uint64_t(flow),
	}
	C.zcrx_emu_arm(i.emu, &recv)
}

// Deliver lets bytes arrive, cut into fragments of at most so many; how many the NIC took.
func (i *Instance) Deliver(id, flow uint32, bytes []byte, fragmentMax, perBuffer uint32) int {
	shape := C.struct_zcrx_emu_shape{
		fragment_max: C.uint32_t(fragmentMax), per_buffer: C.uint32_t(perBuffer),
	}
	return int(C.zcrx_emu_deliver(i.emu, C.uint32_t(id), C.uint32_t(flow),
		unsafe.Pointer(&bytes[0]), C.size_t(len(bytes)), &shape))
}

// End lets the flow's sender end it.
func (i *Instance) End(flow uint32) {
	C.zcrx_emu_end(i.emu, C.uint32_t(flow))
}

// Step lets the kernel work until it has nothing to do.
func (i *Instance) Step() {
	C.zcrx_emu_step(i.emu)
}

// Drain judges all that waits in the refill ring.
func (i *Instance) Drain(id uint32) {
	C.zcrx_emu_drain(i.emu, C.uint32_t(id))
}

// Next takes a completion out of the queue, if there is one.
func (i *Instance) Next() (Completion, bool) {
	var cqe C.struct_zcrx_emu_cqe
	if C.next(i.queue, &cqe) == 0 {
		return Completion{}, false
	}
	return Completion{uint64(cqe.user_data), uint64(cqe.off), int32(cqe.res)}, true
}

// Finish says that the program is done, and what was found of all, and how much.
func (i *Instance) Finish() ([]Report, int) {
	found := int(C.zcrx_emu_finish(i.emu))
	size := C.zcrx_emu_report_json(i.emu, nil, 0) + 1
	text := (*C.char)(C.malloc(size))
	defer C.free(unsafe.Pointer(text))
	C.zcrx_emu_report_json(i.emu, text, size)
	var told struct{ Reports []Report }
	if err := json.Unmarshal([]byte(C.GoString(text)), &told); err != nil {
		panic(err)
	}
	return told.Reports, found
}
