// SPDX-License-Identifier: MIT

// The pool's test: zcrx-client [CASES [LEVEL [SEED]]]
package main

import (
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"zcrx-client/emu"
	"zcrx-client/pool"
)

const (
	flows    = 3
	rounds   = 40
	patience = 1000
)

// byteAt is what a connection carries at a position: each byte tells where it belongs.
func byteAt(flow uint32, position uint64) byte {
	return byte(position*31 + position>>8 + uint64(flow)*97)
}

type unread struct {
	pool.Fragment
	flow     uint32
	position uint64
}

type test struct {
	ring           *emu.Instance
	pool           *pool.Pool
	rng            *rand.Rand
	sent, received [flows]uint64
	hasEnded       [flows]bool
	held           []unread
	corrupt        int64
}

func (t *test) sendSome() {
	flow := uint32(t.rng.Intn(flows))
	bytes := make([]byte, 1+t.rng.Intn(6000))
	for i := range bytes {
		bytes[i] = byteAt(flow, t.sent[flow]+uint64(i))
	}
	fragment, perBuffer := 512+t.rng.Intn(3500), 1+t.rng.Intn(4)
	taken := t.ring.Deliver(t.pool.ID, flow, bytes, uint32(fragment), uint32(perBuffer))
	t.sent[flow] += uint64(taken)
}

func (t *test) kernelWorks() {
	t.ring.Step()
	for {
		completion, ok := t.ring.Next()
		if !ok {
			return
		}
		flow := uint32(completion.UserData)
		switch pool.NextOf(completion.Res) {
		case pool.Bytes:
			fragment := t.pool.Take(completion.Off, uint32(completion.Res))
			t.held = append(t.held, unread{fragment, flow, t.received[flow]})
			t.received[flow] += uint64(completion.Res)
		case pool.Again:
			t.ring.Arm(t.pool.ID, flow)
		case pool.End:
			t.hasEnded[flow] = true
		}
	}
}

func (t *test) read(one unread) {
	for i, b := range one.Bytes() {
		if b != byteAt(one.flow, one.position+uint64(i)) {
			atomic.AddInt64(&t.corrupt, 1)
			break
		}
	}
	one.Release()
}

// readSome reads any of those held, each in a goroutine of its own.
func (t *test) readSome(most int) {
	t.rng.Shuffle(len(t.held), func(i, j int) { t.held[i], t.held[j] = t.held[j], t.held[i] })
	if most > len(t.held) {
		most = len(t.held)
	}
	var all sync.WaitGroup
	all.Add(most)
	for _, one := range t.held[:most] {
		go func(one unread) {
			defer all.Done()
			t.read(one)
		}(one)
	}
	all.Wait()
	t.held = t.held[most:]
}

func (t *test) allEnded() bool {
	return t.hasEnded[0] && t.hasEnded[1] && t.hasEnded[2] && t.pool.Flush() == 0
}

func (t *test) play() {
	for flow := uint32(0); flow < flows; flow++ {
		t.ring.Arm(t.pool.ID, flow)
	}
	for i := 0; i < rounds; i++ {
		t.sendSome()
		t.kernelWorks()
		t.readSome(t.rng.Intn(8))
	}
	for flow := uint32(0); flow < flows; flow++ {
		t.ring.End(flow)
	}
	for i := 0; i < patience && !t.allEnded(); i++ {
		t.kernelWorks()
		t.readSome(len(t.held))
		t.ring.Drain(t.pool.ID)
	}
}

// runCase says how much was found.
func runCase(level string, seed uint64) (int, error) {
	ring, err := emu.New(level, seed)
	if err != nil {
		return 0, err
	}
	defer ring.Close()
	t := &test{ring: ring, rng: rand.New(rand.NewSource(int64(seed)))}
	if t.pool, err = pool.Register(ring, 64, 8); err != nil {
		return 0, err
	}
	t.play()
	if t.corrupt > 0 {
		fmt.Printf("seed %d: corrupt: %d fragments were overwritten\n", seed, t.corrupt)
	}
	reports, found := ring.Finish()
	told := map[string]bool{}
	for _, report := range reports {
		if !told[report.Kind] {
			fmt.Printf("seed %d: %s: %s\n", seed, report.Kind, report.Text)
		}
		told[report.Kind] = true
	}
	return found + int(t.corrupt), nil
}

func run(words []string) (int, error) {
	cases, first, level := uint64(100), uint64(1), "seed"
	var err error
	if len(words) > 0 {
		cases, err = strconv.ParseUint(words[0], 10, 64)
	}
	if len(words) > 1 {
		level = words[1]
	}
	if len(words) > 2 && err == nil {
		first, err = strconv.ParseUint(words[2], 10, 64)
	}
	all := 0
	for seed := first; seed < first+cases && err == nil; seed++ {
		var found int
		found, err = runCase(level, seed)
		all += found
	}
	if err == nil {
		fmt.Printf("%d cases, %d found\n", cases, all)
	}
	return all, err
}

func main() {
	found, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if found > 0 {
		os.Exit(1)
	}
}
