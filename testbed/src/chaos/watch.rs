//! What can be seen from outside while a case runs: the groups' committed offsets and the processes' memory,
//! sampled a few times a second by a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::kafka_client::Committed;
use crate::proc;

use super::case::Sink;
use super::config::group;

const EVERY: Duration = Duration::from_millis(200);

/// One partition's committed offset, each time that it was seen to be another one.
type Steps = Vec<(Instant, i64)>;

#[derive(Default)]
struct Samples {
    committed: BTreeMap<(Sink, i32), Steps>,
    went_back: Vec<String>,
    num: u64,
    processes: Vec<Process>,
    peak_bytes: u64,
}

/// A running watch.
pub struct Watch {
    samples: Arc<Mutex<Samples>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches the groups of these sinks, by a client of its own that no proxy is in front of.
    pub fn start(bootstrap: &str, topic: &str, partitions: i32, sinks: &[Sink]) -> Result<Self> {
        let client = |sink: &Sink| {
            let committed = Committed::new(bootstrap, &group(topic, *sink), topic, partitions);
            Ok((*sink, committed?))
        };
        let clients = sinks.iter().map(client).collect::<Result<Vec<_>>>()?;
        let samples = Arc::new(Mutex::new(Samples::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, their_stop) = (Arc::clone(&samples), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !their_stop.load(Ordering::Relaxed) {
                let next = Instant::now() + EVERY;
                for (sink, client) in &clients {
                    // While the broker is away nobody knows.
                    if let Ok(committed) = client.read(Duration::from_secs(2)) {
                        lock(&theirs).note(*sink, &committed);
                    }
                }
                lock(&theirs).look_at_memory();
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Ok(Self {
            samples,
            stop,
            thread: Some(thread),
        })
    }

    /// Looks at the memory of this process, too.
    pub fn add_process(&self, pid: u32) {
        lock(&self.samples).processes.extend(Process::of(pid));
    }

    /// The sum of a sink's committed offsets, as last seen.
    pub fn committed(&self, sink: Sink) -> i64 {
        self.each_partition(sink).values().sum()
    }

    /// A sink's committed offsets, as last seen.
    pub fn each_partition(&self, sink: Sink) -> BTreeMap<i32, i64> {
        let samples = lock(&self.samples);
        let of_sink = samples.committed.iter().filter(|((of, _), _)| *of == sink);
        let last =
            |((_, partition), steps): (&(Sink, i32), &Steps)| Some((*partition, steps.last()?.1));
        of_sink.filter_map(last).collect()
    }

    /// Records a second that a sink has committed between two moments: straight lines between the moments at
    /// which a partition's offset changed, because files are committed in large steps.
    pub fn rate(&self, sink: Sink, from: Instant, to: Instant) -> f64 {
        let samples = lock(&self.samples);
        let of_sink = samples.committed.iter().filter(|((of, _), _)| *of == sink);
        let moved = of_sink.map(|(_, steps)| at(steps, to) - at(steps, from));
        moved.sum::<f64>() / to.saturating_duration_since(from).as_secs_f64().max(0.001)
    }

    /// When a sink's committed offsets had come to this sum.
    pub fn reached(&self, sink: Sink, sum: i64) -> Option<Instant> {
        let samples = lock(&self.samples);
        let of_sink = samples.committed.iter().filter(|((of, _), _)| *of == sink);
        let mut steps: Vec<(Instant, i32, i64)> = of_sink
            .flat_map(|((_, partition), steps)| steps.iter().map(|(at, to)| (*at, *partition, *to)))
            .collect();
        steps.sort_unstable();
        let mut now = BTreeMap::new();
        steps.into_iter().find_map(|(at, partition, offset)| {
            now.insert(partition, offset);
            (now.values().sum::<i64>() >= sum).then_some(at)
        })
    }

    /// Committed offsets that were seen to go back, in words.
    pub fn went_back(&self) -> Vec<String> {
        lock(&self.samples).went_back.clone()
    }

    /// The most that a process was seen to have in memory, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let mut samples = lock(&self.samples);
        samples.look_at_memory();
        samples.peak_bytes
    }

    /// How often the committed offsets were read.
    pub fn num_samples(&self) -> u64 {
        lock(&self.samples).num
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Samples {
    fn note(&mut self, sink: Sink, committed: &BTreeMap<i32, i64>) {
        self.num += 1;
        for (partition, offset) in committed {
            let steps = self.committed.entry((sink, *partition)).or_default();
            let last = steps.last().map(|(_, offset)| *offset);
            if last == Some(*offset) {
                continue;
            }
            if let Some(last) = last
                && last > *offset
            {
                let name = sink.name();
                self.went_back.push(format!(
                    "{name}: partition {partition} went back from {last} to {offset}"
                ));
            }
            steps.push((Instant::now(), *offset));
        }
    }

    fn look_at_memory(&mut self) {
        self.processes.retain(|process| process.is_alive());
        for process in &self.processes {
            let peak = proc::memory(process.pid, "VmHWM:").filter(|_| process.is_alive());
            self.peak_bytes = self.peak_bytes.max(peak.unwrap_or(0));
        }
    }
}

/// A process, not to be taken for a later one with its id: ids come round within minutes on a busy machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    /// In the kernel's ticks since the machine began.
    began: u64,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        let began = proc::began(pid)?;
        Some(Process { pid, began })
    }

    fn is_alive(self) -> bool {
        Process::of(self.pid) == Some(self)
    }
}

/// The offset at a moment, on straight lines between the steps.
fn at(steps: &Steps, moment: Instant) -> f64 {
    let after = steps.partition_point(|(at, _)| *at <= moment);
    let Some(&(begin, from)) = after.checked_sub(1).and_then(|index| steps.get(index)) else {
        return 0.0;
    };
    let Some(&(end, to)) = steps.get(after) else {
        return from as f64;
    };
    let share = (moment - begin).as_secs_f64() / (end - begin).as_secs_f64().max(0.001);
    from as f64 + (to - from) as f64 * share
}

fn lock(samples: &Mutex<Samples>) -> MutexGuard<'_, Samples> {
    samples.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_steps_the_offset_grows_evenly() {
        let begin = Instant::now();
        let second = |n: u64| begin + Duration::from_secs(n);
        let steps = vec![(begin, 100), (second(2), 300), (second(4), 300)];
        assert_eq!(at(&steps, second(1)), 200.0);
        assert_eq!(at(&steps, second(3)), 300.0);
        assert_eq!(at(&steps, second(9)), 300.0);
    }

    #[test]
    fn an_offset_that_goes_back_is_noted() {
        let mut samples = Samples::default();
        samples.note(Sink::Hdfs, &BTreeMap::from([(0, 5)]));
        samples.note(Sink::Hdfs, &BTreeMap::from([(0, 7)]));
        assert!(samples.went_back.is_empty());
        samples.note(Sink::Hdfs, &BTreeMap::from([(0, 6)]));
        assert_eq!(samples.went_back.len(), 1);
    }

    #[test]
    fn another_process_with_the_same_id_is_another() {
        let ours = Process::of(std::process::id()).expect("we run");
        assert!(ours.is_alive());
        let earlier = Process {
            began: ours.began - 1,
            ..ours
        };
        assert!(!earlier.is_alive());
    }
}
