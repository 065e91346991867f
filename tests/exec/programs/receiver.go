// SPDX-License-Identifier: MIT

// A server of zero-copy receive by system calls alone: a goroutine sends it bytes over loopback,
// and each of them is looked at where the kernel has put it.
//
//	receiver BYTES
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	ioUringSetup    = 425
	ioUringEnter    = 426
	ioUringRegister = 427

	setupCQSize       = 1 << 3
	setupCQE32        = 1 << 11
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	enterGetEvents    = 1
	offSQEs           = 0x10000000
	opRecvZC          = 58
	recvMultishot     = 2
	registerZCRXIfq   = 32
	regionTypeUser    = 1
	cqeFMore          = 2

	page     = 4096
	entries  = 256
	areaMask = 1<<48 - 1
)

type offsets struct {
	head, tail, ringMask, ringEntries, a, b, c, d uint32
	userAddr                                      uint64
}

type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFd uint32
	resv                                                                   [3]uint32
	sq, cq                                                                 offsets
}

type sqe struct {
	opcode, flags      uint8
	ioprio             uint16
	fd                 int32
	off, addr          uint64
	len, opFlags       uint32
	userData           uint64
	bufIndex, personal uint16
	fileIndex          uint32
	addr3, pad         uint64
}

type cqe struct {
	userData    uint64
	res         int32
	flags       uint32
	offset, pad uint64
}

type rqe struct {
	off uint64
	len uint32
	pad uint32
}

type region struct {
	userAddr, size uint64
	flags, id      uint32
	mmapOffset     uint64
	resv           [4]uint64
}

type area struct {
	addr, len, token uint64
	flags, dmabufFd  uint32
	resv             [2]uint64
}

type ifq struct {
	ifIdx, ifRxq, rqEntries, flags uint32
	areaPtr, regionPtr             uint64
	head, tail, rqes, resv2        uint32
	resv                           [2]uint64
	zcrxID, rxBufLen               uint32
	resv3                          [3]uint64
}

func at[T any](memory []byte, offset uint32) *T {
	return (*T)(unsafe.Pointer(&memory[offset]))
}

func call(number, a, b, c, d uintptr) int {
	result, _, errno := syscall.Syscall6(number, a, b, c, d, 0, 0)
	if errno != 0 {
		log.Fatalf("call %d: %v", number, errno)
	}
	return int(result)
}

func memory(fd int, offset int64, size, flags int) []byte {
	mapped, err := syscall.Mmap(fd, offset, size, syscall.PROT_READ|syscall.PROT_WRITE, flags)
	if err != nil {
		log.Fatal(err)
	}
	return mapped
}

type ring struct {
	fd          int
	p           params
	rings, sqes []byte
	sqTail      uint32
	cqHead      uint32
}

func open() *ring {
	r := &ring{p: params{cqEntries: entries}}
	r.p.flags = setupCQSize | setupCQE32 | setupSingleIssuer | setupDeferTaskrun
	r.fd = call(ioUringSetup, 8, uintptr(unsafe.Pointer(&r.p)), 0, 0)
	size := int(r.p.sq.c + r.p.sqEntries*4)
	if cqes := int(r.p.cq.b + r.p.cqEntries*32); cqes > size {
		size = cqes
	}
	r.rings = memory(r.fd, 0, size, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	r.sqes = memory(r.fd, offSQEs, int(r.p.sqEntries)*64, syscall.MAP_SHARED|syscall.MAP_POPULATE)
	return r
}

func (r *ring) submit(entry sqe) {
	slot := r.sqTail & (r.p.sqEntries - 1)
	*at[sqe](r.sqes, slot*64) = entry
	*at[uint32](r.rings, r.p.sq.c+slot*4) = slot
	r.sqTail++
	atomic.StoreUint32(at[uint32](r.rings, r.p.sq.tail), r.sqTail)
	call(ioUringEnter, uintptr(r.fd), 1, 0, enterGetEvents)
}

// The oldest completion; it waits for one.
func (r *ring) next() cqe {
	for atomic.LoadUint32(at[uint32](r.rings, r.p.cq.tail)) == r.cqHead {
		call(ioUringEnter, uintptr(r.fd), 0, 1, enterGetEvents)
	}
	slot := r.cqHead & (r.p.cqEntries - 1)
	completion := *at[cqe](r.rings, r.p.cq.b+slot*32)
	r.cqHead++
	atomic.StoreUint32(at[uint32](r.rings, r.p.cq.head), r.cqHead)
	return completion
}

type queue struct {
	*ring
	area, region []byte
	reg          ifq
	token        uint64
	tail         uint32
}

func register(r *ring) *queue {
	anonymous := syscall.MAP_PRIVATE | syscall.MAP_ANON
	q := &queue{ring: r, area: memory(-1, 0, entries*page, anonymous)}
	q.region = memory(-1, 0, page+entries*16, anonymous)
	areaReg := area{addr: uint64(uintptr(unsafe.Pointer(&q.area[0]))), len: entries * page}
	regionReg := region{userAddr: uint64(uintptr(unsafe.Pointer(&q.region[0])))}
	regionReg.size, regionReg.flags = page+entries*16, regionTypeUser
	q.reg = ifq{ifIdx: 1, rqEntries: entries}
	q.reg.areaPtr = uint64(uintptr(unsafe.Pointer(&areaReg)))
	q.reg.regionPtr = uint64(uintptr(unsafe.Pointer(&regionReg)))
	call(ioUringRegister, uintptr(r.fd), registerZCRXIfq, uintptr(unsafe.Pointer(&q.reg)), 1)
	runtime.KeepAlive(&areaReg)
	runtime.KeepAlive(&regionReg)
	q.token = areaReg.token
	return q
}

func (q *queue) arm(fd int) {
	q.submit(sqe{opcode: opRecvZC, ioprio: recvMultishot, fd: int32(fd), fileIndex: q.reg.zcrxID, userData: 7})
}

func (q *queue) giveBack(offset uint64, size int32) {
	slot := q.tail & (q.reg.rqEntries - 1)
	*at[rqe](q.region, q.reg.rqes+slot*16) = rqe{off: offset&areaMask | q.token, len: uint32(size)}
	q.tail++
	atomic.StoreUint32(at[uint32](q.region, q.reg.tail), q.tail)
}

func byteAt(place int) byte {
	return byte(place*131 + place>>12)
}

func send(address string, size int) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byteAt(i)
	}
	if _, err := connection.Write(bytes); err != nil {
		log.Fatal(err)
	}
	connection.Close()
}

func (q *queue) receive(fd int) (received, fragments int) {
	q.arm(fd)
	for {
		completion := q.next()
		if completion.flags&cqeFMore == 0 {
			if completion.res == 0 {
				return
			}
			if errno := syscall.Errno(-completion.res); errno != syscall.ENOSPC {
				log.Fatal(errno)
			}
			q.arm(fd)
			continue
		}
		offset := completion.offset & areaMask
		for i, b := range q.area[offset : offset+uint64(completion.res)] {
			if b != byteAt(received+i) {
				log.Fatalf("byte %d is wrong", received+i)
			}
		}
		received += int(completion.res)
		fragments++
		q.giveBack(completion.offset, completion.res)
	}
}

func main() {
	size, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go send(listener.Addr().String(), size)
	connection, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	file, err := connection.(*net.TCPConn).File()
	if err != nil {
		log.Fatal(err)
	}
	runtime.LockOSThread() // the ring's single issuer
	received, fragments := register(open()).receive(int(file.Fd()))
	fmt.Printf("%d bytes, %d fragments\n", received, fragments)
}
