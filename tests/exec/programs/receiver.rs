// SPDX-License-Identifier: MIT

//! A server of zero-copy receive by system calls alone: a thread sends it bytes over loopback,
//! and each of them is looked at where the kernel has put it. The refill ring is memory of the
//! kernel's, mapped from the ring.
//!
//!     receiver BYTES

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::io::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, io, mem, ptr, thread};

extern "C" {
    fn syscall(number: i64, ...) -> i64;
    fn mmap(at: *mut u8, size: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
}

const IO_URING_SETUP: i64 = 425;
const IO_URING_ENTER: i64 = 426;
const IO_URING_REGISTER: i64 = 427;
const SETUP: u32 = 1 << 3 | 1 << 11 | 1 << 12 | 1 << 13; // CQSIZE, CQE32, SINGLE_ISSUER, DEFER_TASKRUN
const ENTER_GETEVENTS: u32 = 1;
const OFF_SQES: i64 = 0x1000_0000;
const OP_RECV_ZC: u8 = 58;
const RECV_MULTISHOT: u16 = 2;
const REGISTER_ZCRX_IFQ: u32 = 32;
const CQE_F_MORE: u32 = 2;
const ENOSPC: i32 = 28;

const PAGE: usize = 4096;
const ENTRIES: u32 = 256;
const AREA_MASK: u64 = (1 << 48) - 1;
const READ_WRITE: i32 = 3;
const SHARED: i32 = 1 | 0x8000; // and MAP_POPULATE
const ANONYMOUS: i32 = 2 | 0x20; // and MAP_PRIVATE

#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    words: [u32; 4], // SQ: flags, dropped, array; CQ: overflow, cqes, flags
    user_addr: u64,
}

#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    words: [u32; 7],
    sq: Offsets,
    cq: Offsets,
}

#[repr(C)]
#[derive(Default)]
struct Sqe {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    buf_index: u16,
    personality: u16,
    file_index: u32,
    addr3: u64,
    pad: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Cqe {
    user_data: u64,
    res: i32,
    flags: u32,
    offset: u64,
    pad: u64,
}

#[repr(C)]
struct Rqe {
    off: u64,
    len: u32,
    pad: u32,
}

#[repr(C)]
#[derive(Default)]
struct Region {
    user_addr: u64,
    size: u64,
    flags: u32,
    id: u32,
    mmap_offset: u64,
    resv: [u64; 4],
}

#[repr(C)]
#[derive(Default)]
struct Area {
    addr: u64,
    len: u64,
    token: u64,
    flags: u32,
    dmabuf_fd: u32,
    resv: [u64; 2],
}

#[repr(C)]
#[derive(Default)]
struct Ifq {
    if_idx: u32,
    if_rxq: u32,
    rq_entries: u32,
    flags: u32,
    area_ptr: u64,
    region_ptr: u64,
    head: u32,
    tail: u32,
    rqes: u32,
    resv2: u32,
    resv: [u64; 2],
    zcrx_id: u32,
    rx_buf_len: u32,
    resv3: [u64; 3],
}

/// Memory that the kernel is at, too.
struct Memory(*mut u8);

impl Memory {
    fn map(size: usize, flags: i32, fd: i32, offset: i64) -> Memory {
        let at = unsafe { mmap(ptr::null_mut(), size, READ_WRITE, flags, fd, offset) };
        assert!(at as isize != -1, "{}", io::Error::last_os_error());
        Memory(at)
    }

    fn at<T>(&self, offset: u32) -> *mut T {
        unsafe { self.0.add(offset as usize).cast() }
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        unsafe { &*self.at::<AtomicU32>(offset) }
    }
}

fn check(result: i64) -> i64 {
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

struct Ring {
    fd: i32,
    params: Params,
    rings: Memory,
    sqes: Memory,
    sq_tail: u32,
    cq_head: u32,
}

impl Ring {
    fn open() -> Ring {
        let mut params = Params {
            flags: SETUP,
            cq_entries: ENTRIES,
            ..Params::default()
        };
        let fd = check(unsafe { syscall(IO_URING_SETUP, 8u32, &mut params) }) as i32;
        let array = params.sq.words[2] + params.sq_entries * 4;
        let cqes = params.cq.words[1] + params.cq_entries * mem::size_of::<Cqe>() as u32;
        Ring {
            fd,
            rings: Memory::map(array.max(cqes) as usize, SHARED, fd, 0),
            sqes: Memory::map(params.sq_entries as usize * 64, SHARED, fd, OFF_SQES),
            params,
            sq_tail: 0,
            cq_head: 0,
        }
    }

    fn enter(&self, submit: u32, least: u32) {
        check(unsafe {
            syscall(
                IO_URING_ENTER,
                self.fd,
                submit,
                least,
                ENTER_GETEVENTS,
                0usize,
                0usize,
            )
        });
    }

    fn submit(&mut self, sqe: Sqe) {
        let slot = self.sq_tail & (self.params.sq_entries - 1);
        unsafe {
            self.sqes.at::<Sqe>(slot * 64).write(sqe);
            self.rings
                .at::<u32>(self.params.sq.words[2] + slot * 4)
                .write(slot);
        }
        self.sq_tail += 1;
        self.rings
            .word(self.params.sq.tail)
            .store(self.sq_tail, Ordering::Release);
        self.enter(1, 0);
    }

    /// The oldest completion; it waits for one.
    fn next(&mut self) -> Cqe {
        while self.rings.word(self.params.cq.tail).load(Ordering::Acquire) == self.cq_head {
            self.enter(0, 1);
        }
        let slot = self.cq_head & (self.params.cq_entries - 1);
        let cqe = unsafe {
            self.rings
                .at::<Cqe>(self.params.cq.words[1] + slot * 32)
                .read()
        };
        self.cq_head += 1;
        self.rings
            .word(self.params.cq.head)
            .store(self.cq_head, Ordering::Release);
        cqe
    }
}

struct Queue {
    ring: Ring,
    area: Memory,
    region: Memory,
    reg: Ifq,
    token: u64,
    tail: u32,
}

impl Queue {
    fn register(ring: Ring) -> Queue {
        let size = PAGE + ENTRIES as usize * mem::size_of::<Rqe>();
        let area = Memory::map(ENTRIES as usize * PAGE, ANONYMOUS, -1, 0);
        let mut region_reg = Region {
            size: ((size + PAGE - 1) / PAGE * PAGE) as u64,
            ..Region::default()
        };
        let mut area_reg = Area {
            addr: area.0 as u64,
            len: (ENTRIES as usize * PAGE) as u64,
            ..Area::default()
        };
        let mut reg = Ifq {
            if_idx: 1,
            rq_entries: ENTRIES,
            area_ptr: &mut area_reg as *mut Area as u64,
            region_ptr: &mut region_reg as *mut Region as u64,
            ..Ifq::default()
        };
        check(unsafe {
            syscall(
                IO_URING_REGISTER,
                ring.fd,
                REGISTER_ZCRX_IFQ,
                &mut reg,
                1u32,
            )
        });
        let region = Memory::map(size, SHARED, ring.fd, region_reg.mmap_offset as i64);
        Queue {
            ring,
            area,
            region,
            reg,
            token: area_reg.token,
            tail: 0,
        }
    }

    fn arm(&mut self, fd: i32) {
        self.ring.submit(Sqe {
            opcode: OP_RECV_ZC,
            ioprio: RECV_MULTISHOT,
            fd,
            file_index: self.reg.zcrx_id,
            user_data: 7,
            ..Sqe::default()
        });
    }

    fn give_back(&mut self, offset: u64, len: u32) {
        let slot = self.tail & (self.reg.rq_entries - 1);
        let rqe = Rqe {
            off: offset & AREA_MASK | self.token,
            len,
            pad: 0,
        };
        unsafe { self.region.at::<Rqe>(self.reg.rqes + slot * 16).write(rqe) };
        self.tail += 1;
        self.region
            .word(self.reg.tail)
            .store(self.tail, Ordering::Release);
    }

    /// Bytes and fragments.
    fn receive(&mut self, fd: i32) -> (usize, usize) {
        let (mut received, mut fragments) = (0, 0);
        self.arm(fd);
        loop {
            let cqe = self.ring.next();
            if cqe.flags & CQE_F_MORE == 0 {
                match -cqe.res {
                    0 => return (received, fragments),
                    ENOSPC => self.arm(fd),
                    error => panic!("{}", io::Error::from_raw_os_error(error)),
                }
                continue;
            }
            let start: *const u8 = self.area.at((cqe.offset & AREA_MASK) as u32);
            for i in 0..cqe.res as usize {
                assert_eq!(unsafe { start.add(i).read() }, byte_at(received + i));
            }
            received += cqe.res as usize;
            fragments += 1;
            self.give_back(cqe.offset, cqe.res as u32);
        }
    }
}

fn byte_at(place: usize) -> u8 {
    (place * 131 + (place >> 12)) as u8
}

fn main() -> io::Result<()> {
    let size: usize = env::args()
        .nth(1)
        .expect("BYTES")
        .parse()
        .expect("a number");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let sender = thread::spawn(move || {
        let bytes: Vec<u8> = (0..size).map(byte_at).collect();
        TcpStream::connect(address)
            .unwrap()
            .write_all(&bytes)
            .unwrap();
    });
    let (connection, _) = listener.accept()?;
    let (received, fragments) = Queue::register(Ring::open()).receive(connection.as_raw_fd());
    sender.join().unwrap();
    println!("{received} bytes, {fragments} fragments");
    Ok(())
}
