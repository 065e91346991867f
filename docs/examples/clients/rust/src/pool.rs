// SPDX-License-Identifier: MIT
//! The program: buffers of a zero-copy receive queue as values that return themselves.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::any::Any;
use std::collections::VecDeque;
use std::mem::size_of;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::sys;

pub const PAGE: usize = 4096;

/// What registers an interface queue: io_uring, or what stands in for it.
pub trait Ring {
    /// `memory` is what `reg` points to; the ring keeps it for as long as it lives.
    fn register_ifq(
        &mut self,
        reg: &mut sys::io_uring_zcrx_ifq_reg,
        memory: Arc<dyn Any + Send + Sync>,
    ) -> Result<(), String>;
}

/// Whole pages that the kernel writes into, too.
struct Pages {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: it is memory; who may touch which bytes of it is decided by those who hold it.
unsafe impl Send for Pages {}
unsafe impl Sync for Pages {}

impl Pages {
    fn new(size: usize) -> Pages {
        let size = (size + PAGE - 1) / PAGE * PAGE;
        let layout = Layout::from_size_align(size, PAGE).expect("a size of memory");
        // SAFETY: the size is not 0.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Pages { start, layout }
    }

    fn word(&self, at: u32) -> &AtomicU32 {
        assert!(at as usize + 4 <= self.layout.size() && at % 4 == 0);
        // SAFETY: within the memory, aligned, and nobody accesses it but by atomics.
        unsafe { &*self.start.add(at as usize).cast() }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated by new() with this layout.
        unsafe { dealloc(self.start, self.layout) }
    }
}

struct Memory {
    area: Pages,
    region: Pages,
}

/// What only the one who writes into the refill ring touches.
struct Returns {
    tail: u32,
    waiting: VecDeque<sys::io_uring_zcrx_rqe>,
}

struct Shared {
    memory: Arc<Memory>,
    offsets: sys::io_uring_zcrx_offsets,
    entries: u32,
    returns: Mutex<Returns>,
}

impl Shared {
    fn give_back(&self, off: u64, len: u32) {
        let mut returns = self.returns.lock().unwrap();
        returns.waiting.push_back(sys::io_uring_zcrx_rqe {
            off,
            len,
            __pad: if cfg!(feature = "dirty-pad") { len } else { 0 },
        });
        self.publish(&mut returns);
    }

    /// As much as there is room for.
    ///
    /// The acquire pairs with the kernel's release of the head, after which it does not read the
    /// entries before it any more; the release with its acquire of the tail, so that it finds the
    /// entries written.
    fn publish(&self, returns: &mut Returns) {
        let head = self
            .memory
            .region
            .word(self.offsets.head)
            .load(Ordering::Acquire);
        while cfg!(feature = "ignores-head") || returns.tail.wrapping_sub(head) < self.entries {
            let rqe = match returns.waiting.pop_front() {
                Some(rqe) => rqe,
                None => break,
            };
            let slot = (returns.tail & (self.entries - 1)) as usize;
            // SAFETY: a slot of the ring, which the kernel does not read before the tail says so.
            unsafe {
                let rqes = self.memory.region.start.add(self.offsets.rqes as usize);
                rqes.cast::<sys::io_uring_zcrx_rqe>().add(slot).write(rqe);
            }
            returns.tail = returns.tail.wrapping_add(1);
        }
        let tail = self.memory.region.word(self.offsets.tail);
        tail.store(returns.tail, Ordering::Release);
    }
}

/// What one completion gave: its end is the one return of it.
struct Held {
    shared: Arc<Shared>,
    off: u64,
    len: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.give_back(self.off, self.len);
    }
}

/// Bytes that have arrived, where the NIC wrote them. They go back when all of their parts are
/// dropped, in whatever thread.
pub struct Fragment {
    held: Arc<Held>,
    range: Range<usize>,
}

impl Fragment {
    /// Two parts, as of a header and what follows it.
    pub fn split_at(self, at: usize) -> (Fragment, Fragment) {
        let Range { start, end } = self.range;
        assert!(at <= end - start);
        let head = Fragment {
            held: self.held.clone(),
            range: start..start + at,
        };
        if cfg!(feature = "split-returns-both") {
            let rest = self
                .held
                .shared
                .take(self.held.off + at as u64, (end - start - at) as u32);
            return (head, rest);
        }
        let rest = Fragment {
            held: self.held,
            range: start + at..end,
        };
        (head, rest)
    }

    /// Nobody is going to read it: its connection was closed, its task was dropped.
    pub fn cancel(self) {
        if cfg!(feature = "forgets-when-cancelled") {
            std::mem::forget(self);
        }
    }
}

impl Deref for Fragment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let at = (self.held.off & ((1 << sys::IORING_ZCRX_AREA_SHIFT) - 1)) as usize;
        let bytes = at + self.range.start..at + self.range.end;
        assert!(bytes.end <= self.held.shared.memory.area.layout.size());
        // SAFETY: within the area; the kernel writes there again when it was returned.
        unsafe {
            let start = self.held.shared.memory.area.start.add(bytes.start);
            std::slice::from_raw_parts(start, bytes.len())
        }
    }
}

impl Shared {
    fn take(self: &Arc<Shared>, off: u64, len: u32) -> Fragment {
        let shared = self.clone();
        Fragment {
            held: Arc::new(Held { shared, off, len }),
            range: 0..len as usize,
        }
    }
}

/// An interface queue and its buffers.
pub struct Pool {
    shared: Arc<Shared>,
    pub id: u32,
}

impl Pool {
    pub fn register(ring: &mut dyn Ring, buffers: usize, entries: u32) -> Result<Pool, String> {
        let entry = size_of::<sys::io_uring_zcrx_rqe>();
        let memory = Arc::new(Memory {
            area: Pages::new(buffers * PAGE),
            region: Pages::new(PAGE + 2 * entries as usize * entry),
        });
        let mut area_reg = sys::io_uring_zcrx_area_reg {
            addr: memory.area.start as u64,
            len: memory.area.layout.size() as u64,
            ..Default::default()
        };
        let mut region_desc = sys::io_uring_region_desc {
            user_addr: memory.region.start as u64,
            size: memory.region.layout.size() as u64,
            flags: sys::IORING_MEM_REGION_TYPE_USER,
            ..Default::default()
        };
        let mut reg = sys::io_uring_zcrx_ifq_reg {
            if_idx: 2,
            rq_entries: entries,
            area_ptr: &mut area_reg as *mut _ as u64,
            region_ptr: &mut region_desc as *mut _ as u64,
            ..Default::default()
        };
        ring.register_ifq(&mut reg, memory.clone())?;
        let shared = Arc::new(Shared {
            memory,
            offsets: reg.offsets,
            entries: reg.rq_entries, // the kernel makes a power of two of it
            returns: Mutex::new(Returns {
                tail: 0,
                waiting: VecDeque::new(),
            }),
        });
        Ok(Pool {
            shared,
            id: reg.zcrx_id,
        })
    }

    /// The bytes of a completion.
    pub fn take(&self, off: u64, len: u32) -> Fragment {
        self.shared.take(off, len)
    }

    /// Write into the ring what waits for room in it; how much still waits.
    pub fn flush(&self) -> usize {
        let mut returns = self.shared.returns.lock().unwrap();
        self.shared.publish(&mut returns);
        returns.waiting.len()
    }
}
