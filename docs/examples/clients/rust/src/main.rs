// SPDX-License-Identifier: MIT
//! The pool's test: zcrx-client [CASES [LEVEL [SEED]]]
#![deny(unsafe_op_in_unsafe_fn)]

mod emu;
mod pool;
mod sys;

use std::process::ExitCode;

use emu::Instance;
use pool::{Fragment, Pool};

const FLOWS: u32 = 3;
const ROUNDS: usize = 40;
const PATIENCE: usize = 1000;
const ENOSPC: i32 = 28;

/// splitmix64
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % u64::from(bound)) as u32
    }
}

/// What a connection carries at a position: each byte tells where it belongs.
fn byte_at(flow: u32, position: u64) -> u8 {
    (position.wrapping_mul(31) + (position >> 8) + u64::from(flow) * 97) as u8
}

struct Unread {
    fragment: Fragment,
    flow: u32,
    position: u64,
}

#[derive(Default, Clone, Copy)]
struct Flow {
    sent: u64,
    received: u64,
    has_ended: bool,
}

struct Test {
    ring: Instance,
    pool: Pool,
    rng: Rng,
    flows: [Flow; FLOWS as usize],
    unread: Vec<Unread>,
    corrupt: usize,
}

impl Test {
    fn new(level: &str, seed: u64) -> Result<Test, String> {
        let mut ring = Instance::new(level, seed)?;
        let pool = Pool::register(&mut ring, 64, 8)?;
        Ok(Test {
            ring,
            pool,
            rng: Rng(seed),
            flows: Default::default(),
            unread: Vec::new(),
            corrupt: 0,
        })
    }

    fn send_some(&mut self) {
        let flow = self.rng.below(FLOWS);
        let sent = self.flows[flow as usize].sent;
        let size = 1 + u64::from(self.rng.below(6000));
        let bytes: Vec<u8> = (sent..sent + size).map(|at| byte_at(flow, at)).collect();
        let shape = sys::zcrx_emu_shape {
            fragment_max: 512 + self.rng.below(3500),
            per_buffer: 1 + self.rng.below(4),
            ..Default::default()
        };
        let taken = self.ring.deliver(self.pool.id, flow, &bytes, &shape);
        self.flows[flow as usize].sent += taken as u64;
    }

    fn kernel_works(&mut self) {
        self.ring.step();
        while let Some(completion) = self.ring.next_completion() {
            let id = completion.user_data as u32;
            let flow = &mut self.flows[id as usize];
            if completion.res > 0 {
                let len = completion.res as u32;
                self.unread.push(Unread {
                    fragment: self.pool.take(completion.off, len),
                    flow: id,
                    position: flow.received,
                });
                flow.received += u64::from(len);
            } else if completion.res == -ENOSPC {
                self.ring.arm(self.pool.id, id);
            } else {
                flow.has_ended = true;
            }
        }
    }

    /// Any of those unread; now and then one is cut in two, or nobody wants it any more.
    fn read_one(&mut self) {
        let at = self.rng.below(self.unread.len() as u32) as usize;
        let one = self.unread.swap_remove(at);
        match self.rng.below(8) {
            0 => one.fragment.cancel(),
            1 => {
                let (head, rest) = one.fragment.split_at(1);
                self.check(&head, one.flow, one.position);
                drop(head);
                self.check(&rest, one.flow, one.position + 1);
            }
            _ => self.check(&one.fragment, one.flow, one.position),
        }
    }

    fn check(&mut self, bytes: &[u8], flow: u32, position: u64) {
        let expected = (position..).map(|at| byte_at(flow, at));
        if !bytes.iter().copied().eq(expected.take(bytes.len())) {
            self.corrupt += 1;
        }
    }

    fn play(&mut self) {
        for flow in 0..FLOWS {
            self.ring.arm(self.pool.id, flow);
        }
        for _ in 0..ROUNDS {
            self.send_some();
            self.kernel_works();
            for _ in 0..self.rng.below(8).min(self.unread.len() as u32) {
                self.read_one();
            }
        }
        (0..FLOWS).for_each(|flow| self.ring.end(flow));
        for _ in 0..PATIENCE {
            self.kernel_works();
            while !self.unread.is_empty() {
                self.read_one();
            }
            self.ring.drain(self.pool.id);
            if self.pool.flush() == 0 && self.flows.iter().all(|flow| flow.has_ended) {
                break;
            }
        }
    }

    /// How much was found.
    fn finish(self, seed: u64) -> usize {
        if self.corrupt > 0 {
            println!(
                "seed {seed}: corrupt: {} fragments were overwritten",
                self.corrupt
            );
        }
        let (found, told) = self.ring.finish();
        for (kind, text) in told.lines {
            println!("seed {seed}: {kind}: {text}");
        }
        found + self.corrupt
    }
}

fn run(words: &[String]) -> Result<usize, String> {
    let number = |at: usize, default: u64| match words.get(at) {
        Some(word) => word.parse().map_err(|_| format!("{word}: not a number")),
        None => Ok(default),
    };
    let level = words.get(1).map_or("seed", String::as_str);
    let (cases, first) = (number(0, 100)?, number(2, 1)?);
    let mut found = 0;
    for seed in first..first + cases {
        let mut test = Test::new(level, seed)?;
        test.play();
        found += test.finish(seed);
    }
    println!("{cases} cases, {found} found");
    Ok(found)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(found) => ExitCode::from(u8::from(found != 0)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
