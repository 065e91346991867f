// SPDX-License-Identifier: MIT

// Package pool is the program: the buffers of a zero-copy receive queue, without cgo.
package pool

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Page is the size of a buffer.
const Page = 4096

const (
	areaMask   = 1<<48 - 1
	regionUser = 1
	header     = 4096 // of the ring, at most
)

// mistake is one that was seen in programs; the linker sets it:
//
//	go build -ldflags '-X zcrx-client/pool.mistake=primed'
var mistake string

const (
	primed        = "primed"          // "the kernel needs buffers to fill"
	maskZero      = "mask-zero"       // the mask never set
	wrongMask     = "wrong-mask"      // of an offset 16 bits are kept, not all but 16
	endsAtNoSpace = "ends-at-nospace" // "an error is an error"
)

// The kernel's structs.
type (
	rqe struct {
		off uint64
		len uint32
		pad uint32
	}
	// Offsets says where in the ring's memory things are.
	Offsets struct {
		Head, Tail, Rqes, _ uint32
		_                   [2]uint64
	}
	areaReg struct {
		addr, len, token uint64
		flags, dmabufFd  uint32
		_                [2]uint64
	}
	regionDesc struct {
		userAddr, size uint64
		flags, id      uint32
		mmapOffset     uint64
		_              [4]uint64
	}
	// IfqReg is struct io_uring_zcrx_ifq_reg.
	IfqReg struct {
		IfIdx, IfRxq, RqEntries, Flags uint32
		areaPtr, regionPtr             uint64
		Offsets                        Offsets
		ZcrxID, rxBufLen               uint32
		_                              [3]uint64
	}
	// request is all that is told to the kernel: in memory that Go does not move.
	request struct {
		reg    IfqReg
		area   areaReg
		region regionDesc
	}
)

// Ring is io_uring, or what stands in for it.
type Ring interface {
	RegisterIfq(reg *IfqReg) error
}

// Pool is an interface queue with its buffers. Fragments are released by any goroutine.
type Pool struct {
	ID           uint32
	area, region []byte
	head, tail   *uint32
	rqes         []rqe
	mask         uint32

	lock    sync.Mutex // of all below, and of the tail and the entries
	myTail  uint32
	waiting []rqe
}

func pages(size int) ([]byte, error) {
	const flags = syscall.MAP_PRIVATE | syscall.MAP_ANON
	return syscall.Mmap(-1, 0, (size+Page-1)/Page*Page, syscall.PROT_READ|syscall.PROT_WRITE, flags)
}

func address(memory []byte) uint64 {
	return uint64(uintptr(unsafe.Pointer(&memory[0])))
}

// Register makes area and refill ring, and tells the kernel. The memory is the process's until its
// end, as the kernel may look at it as long as the ring is there.
func Register(ring Ring, buffers, entries int) (*Pool, error) {
	area, err := pages(buffers * Page)
	if err != nil {
		return nil, err
	}
	region, err := pages(header + 2*entries*int(unsafe.Sizeof(rqe{})))
	if err != nil {
		return nil, err
	}
	told, err := pages(int(unsafe.Sizeof(request{})))
	if err != nil {
		return nil, err
	}
	defer syscall.Munmap(told)
	r := (*request)(unsafe.Pointer(&told[0]))
	r.area = areaReg{addr: address(area), len: uint64(len(area))}
	r.region = regionDesc{userAddr: address(region), size: uint64(len(region)), flags: regionUser}
	r.reg = IfqReg{
		IfIdx:     2,
		RqEntries: uint32(entries),
		areaPtr:   uint64(uintptr(unsafe.Pointer(&r.area))),
		regionPtr: uint64(uintptr(unsafe.Pointer(&r.region))),
	}
	if err := ring.RegisterIfq(&r.reg); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	p := &Pool{ID: r.reg.ZcrxID, area: area, region: region}
	p.find(&r.reg)
	return p, nil
}

func (p *Pool) find(reg *IfqReg) {
	p.head = (*uint32)(unsafe.Pointer(&p.region[reg.Offsets.Head]))
	p.tail = (*uint32)(unsafe.Pointer(&p.region[reg.Offsets.Tail]))
	p.rqes = unsafe.Slice((*rqe)(unsafe.Pointer(&p.region[reg.Offsets.Rqes])), reg.RqEntries)
	if mistake != maskZero {
		p.mask = reg.RqEntries - 1
	}
	if mistake == primed {
		for i := range p.rqes {
			p.rqes[i] = rqe{off: uint64(i) * Page, len: Page}
		}
		p.myTail = reg.RqEntries
		atomic.StoreUint32(p.tail, p.myTail)
	}
}

// Fragment is what one completion gave.
type Fragment struct {
	pool *Pool
	rqe  rqe
}

// Take makes a fragment of a completion that has bytes.
func (p *Pool) Take(off uint64, length uint32) Fragment {
	return Fragment{p, rqe{off: off, len: length}}
}

// Bytes are where the NIC wrote them; not to be used after Release.
func (f Fragment) Bytes() []byte {
	at := f.rqe.off & areaMask
	return f.pool.area[at : at+uint64(f.rqe.len)]
}

// Release returns it: once.
func (f Fragment) Release() {
	p := f.pool
	p.lock.Lock()
	defer p.lock.Unlock()
	if mistake == wrongMask {
		f.rqe.off &= 0xffff
	}
	p.waiting = append(p.waiting, f.rqe)
	p.publish()
}

// Flush writes into the ring what waits for room in it, and says how much still waits.
func (p *Pool) Flush() int {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.publish()
	return len(p.waiting)
}

// publish: the load pairs with the kernel's release of the head, after which it does not read the
// entries before it any more; the store with its acquire of the tail, so that it finds the entries
// written. (Go's atomics are ordered.)
func (p *Pool) publish() {
	room := uint32(len(p.rqes)) - (p.myTail - atomic.LoadUint32(p.head))
	if waiting := uint32(len(p.waiting)); waiting < room {
		room = waiting
	}
	for _, entry := range p.waiting[:room] {
		p.rqes[p.myTail&p.mask] = entry
		p.myTail++
	}
	atomic.StoreUint32(p.tail, p.myTail)
	p.waiting = append(p.waiting[:0], p.waiting[room:]...)
}

// Next is what a completion asks for.
type Next int

// A completion has bytes; or its receive has ended and is to be armed again; or its connection has
// ended.
const (
	Bytes Next = iota
	Again
	End
)

// NextOf says which by a completion's result.
func NextOf(res int32) Next {
	switch {
	case res > 0:
		return Bytes
	case mistake != endsAtNoSpace &&
		(res == -int32(syscall.ENOSPC) || res == -int32(syscall.ENOMEM)):
		return Again
	}
	return End
}
