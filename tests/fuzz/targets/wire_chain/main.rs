//! A made-up agent's messages into a chain's decoder, and what it lets through into the store, names and view.
//! The fuzzer's bytes choose what the agent does: valid batches, batches with faults, raw bytes, snapshots, new
//! processes and boots.
#![no_main]

mod agent;
mod behind;
mod contract;
mod faults;

use agent::Agent;
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

const MOST_STEPS: usize = 24;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut agent = Agent::new(&mut choices);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        agent.step(&mut choices);
    }
    agent.end();
});
