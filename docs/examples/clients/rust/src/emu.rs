// SPDX-License-Identifier: MIT
//! libzcrx_emu in the place of the kernel.

use std::any::Any;
use std::ffi::{CStr, CString};
use std::os::raw::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use crate::pool::Ring;
use crate::sys;

pub const CQ_ENTRIES: usize = 8;

/// The completion queue. Nothing of it moves.
struct Cq {
    head: AtomicU32,
    tail: AtomicU32,
    cqes: [sys::zcrx_emu_cqe; CQ_ENTRIES],
}

/// What the checker said: of each kind the first.
#[derive(Default)]
pub struct Told {
    pub lines: Vec<(String, String)>,
}

pub struct Instance {
    ptr: *mut sys::zcrx_emu,
    cq: *mut Cq,
    told: *mut Told,
    memory: Vec<Arc<dyn Any + Send + Sync>>,
}

/// A completion.
pub struct Completion {
    pub user_data: u64,
    pub res: i32,
    pub off: u64,
}

unsafe extern "C" fn tell(context: *mut c_void, report: *const sys::zcrx_emu_report) {
    // SAFETY: the context is our Told, which nobody borrows while the library is called.
    let (told, report) = unsafe { (&mut *context.cast::<Told>(), &*report) };
    // SAFETY: its words are strings.
    let text = |word| {
        unsafe { CStr::from_ptr(word) }
            .to_string_lossy()
            .into_owned()
    };
    let kind = text(report.name);
    if told.lines.iter().all(|(known, _)| *known != kind) {
        told.lines.push((kind, text(report.text)));
    }
}

impl Instance {
    pub fn new(level: &str, seed: u64) -> Result<Instance, String> {
        let kernel = CString::new(level).map_err(|error| error.to_string())?;
        let cq = Box::into_raw(Box::new(Cq {
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            cqes: Default::default(),
        }));
        let told = Box::into_raw(Box::new(Told::default()));
        let mut instance = Instance {
            ptr: ptr::null_mut(),
            cq,
            told,
            memory: Vec::new(),
        };
        let options = sys::zcrx_emu_options {
            size: std::mem::size_of::<sys::zcrx_emu_options>() as _,
            kernel: kernel.as_ptr(),
            seed,
            context: told.cast(),
            on_report: Some(tell),
            ..Default::default()
        };
        // SAFETY: all that is pointed to lives during the call.
        if unsafe { sys::zcrx_emu_create(&options, &mut instance.ptr) } != 0 {
            return Err(format!("level {level}: there is none of that name"));
        }
        // SAFETY: the queue is freed after the instance.
        let (words, error) = unsafe {
            let words = sys::zcrx_emu_cq {
                head: ptr::addr_of_mut!((*cq).head).cast(),
                tail: ptr::addr_of_mut!((*cq).tail).cast(),
                cqes: ptr::addr_of_mut!((*cq).cqes).cast(),
                entries: CQ_ENTRIES as u32,
                ..Default::default()
            };
            (words, sys::zcrx_emu_set_cq(instance.ptr, &words))
        };
        assert_eq!(error, 0, "{words:?}");
        Ok(instance)
    }

    pub fn arm(&self, zcrx_id: u32, flow: u32) {
        let recv = sys::zcrx_emu_recv {
            zcrx_id,
            flow,
            user_data: flow.into(),
            ..Default::default()
        };
        // SAFETY: it is only read during the call.
        assert_eq!(unsafe { sys::zcrx_emu_arm(self.ptr, &recv) }, 0);
    }

    /// How many of the bytes the NIC had buffers for.
    pub fn deliver(&self, id: u32, flow: u32, bytes: &[u8], shape: &sys::zcrx_emu_shape) -> usize {
        let (start, size) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: they are only read during the call.
        let taken = unsafe { sys::zcrx_emu_deliver(self.ptr, id, flow, start, size as _, shape) };
        usize::try_from(taken).expect("a queue and a shape that there can be")
    }

    pub fn end(&self, flow: u32) {
        // SAFETY: any number is a flow's.
        assert_eq!(unsafe { sys::zcrx_emu_end(self.ptr, flow) }, 0);
    }

    pub fn step(&self) {
        // SAFETY: there is an instance.
        assert!(unsafe { sys::zcrx_emu_step(self.ptr) } >= 0);
    }

    /// Judge what waits in the refill ring; how many entries.
    pub fn drain(&self, zcrx_id: u32) -> usize {
        // SAFETY: there is an instance.
        let count = unsafe { sys::zcrx_emu_drain(self.ptr, zcrx_id) };
        usize::try_from(count).expect("a queue that there is")
    }

    pub fn next_completion(&mut self) -> Option<Completion> {
        // SAFETY: what stands between head and tail is ours: the acquire pairs with the
        // library's release of the tail, our release with its acquire of the head.
        unsafe {
            let head = (*self.cq).head.load(Ordering::Relaxed);
            if head == (*self.cq).tail.load(Ordering::Acquire) {
                return None;
            }
            let cqe = ptr::addr_of!((*self.cq).cqes[head as usize % CQ_ENTRIES]).read();
            (*self.cq)
                .head
                .store(head.wrapping_add(1), Ordering::Release);
            Some(Completion {
                user_data: cqe.user_data,
                res: cqe.res,
                off: cqe.off,
            })
        }
    }

    /// How much was found, and the first of each kind.
    pub fn finish(self) -> (usize, Told) {
        // SAFETY: there is an instance, and nobody else has what was told.
        let (found, told) = unsafe {
            let found = sys::zcrx_emu_finish(self.ptr);
            (found, std::mem::take(&mut *self.told))
        };
        (usize::try_from(found).expect("a count"), told)
    }
}

impl Ring for Instance {
    fn register_ifq(
        &mut self,
        reg: &mut sys::io_uring_zcrx_ifq_reg,
        memory: Arc<dyn Any + Send + Sync>,
    ) -> Result<(), String> {
        self.memory.push(memory);
        // SAFETY: what the struct points to is kept until the instance is gone.
        match unsafe { sys::zcrx_emu_register_ifq(self.ptr, reg) } {
            0 => Ok(()),
            error => {
                // SAFETY: it is a string, valid until the next call.
                let why = unsafe { CStr::from_ptr(sys::zcrx_emu_why(self.ptr)) };
                Err(format!("errno {}: {}", -error, why.to_string_lossy()))
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: made by new(); the instance goes first, it knows the others.
        unsafe {
            sys::zcrx_emu_destroy(self.ptr);
            drop(Box::from_raw(self.cq));
            drop(Box::from_raw(self.told));
        }
    }
}
