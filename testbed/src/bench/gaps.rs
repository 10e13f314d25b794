//! Gaps between the arrivals of each partition's records.

use std::time::{Duration, Instant};

use testbed::{Error, Result, Stub};

/// All must flow for so long before the next event, and after one, to count as settled.
const CALM: Duration = Duration::from_secs(4);
/// How long the pauses while nothing happens are looked at.
const BASELINE: Duration = Duration::from_secs(8);
/// The longest that anything may take: two sessions and their rebalances.
const LONGEST: Duration = Duration::from_secs(150);
/// So many of a hundred partitions may be late and all still flows: a broker with a thousand partitions on a machine
/// that it shares with everybody else is late with some at any time.
const LATE_PER_CENT: usize = 1;

/// How partitions stood still in one event: each partition's longest pause between two records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stood {
    /// How many paused for longer than the threshold.
    pub num: usize,
    /// Half of all partitions paused for no longer than this.
    pub p50: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// The one that paused longest.
    pub longest: Duration,
}

/// When each partition's last record came, and its longest pause.
pub struct Gaps {
    last: Vec<Option<Instant>>,
    longest: Vec<Duration>,
    still: Duration,
}

impl Gaps {
    /// For so many partitions; a pause longer than `still` is standing still.
    pub fn new(num_partitions: usize, still: Duration) -> Self {
        Gaps {
            last: vec![None; num_partitions],
            longest: vec![Duration::ZERO; num_partitions],
            still,
        }
    }

    /// Waits until every partition's first record has come.
    pub fn wait_for_all(&mut self, stub: &Stub, patience: Duration) -> Result<()> {
        let by = Instant::now() + patience;
        while self.last.iter().any(Option::is_none) {
            self.look(stub);
            if Instant::now() > by {
                let missing = self.last.iter().filter(|last| last.is_none()).count();
                return Err(Error::new(format!("{missing} partitions don't flow")));
            }
        }
        Ok(())
    }

    /// Waits until all have flowed for a while, then watches for as long again: what pauses there are while
    /// nothing happens is what an event's are to be compared with.
    pub fn settle(&mut self, stub: &Stub) -> Result<Stood> {
        self.until_calm(stub, || true)?;
        self.longest.fill(Duration::ZERO);
        let until = Instant::now() + BASELINE;
        while Instant::now() < until {
            self.look(stub);
        }
        let stood = self.stood();
        self.longest.fill(Duration::ZERO);
        Ok(stood)
    }

    /// Watches an event until it is over: the group is balanced again, and all flows.
    pub fn watch(&mut self, stub: &Stub, is_balanced: impl Fn() -> bool) -> Result<Stood> {
        self.until_calm(stub, is_balanced)?;
        Ok(self.stood())
    }

    fn until_calm(&mut self, stub: &Stub, is_balanced: impl Fn() -> bool) -> Result<()> {
        let by = Instant::now() + LONGEST;
        let mut calm_since = Instant::now();
        // The members are asked rarely: with a thousand partitions their answers are long.
        while calm_since.elapsed() < CALM || !is_balanced() {
            if calm_since.elapsed() >= CALM {
                calm_since = Instant::now();
            }
            self.look(stub);
            let num_still = self.num_still();
            if num_still * 100 > self.last.len() * LATE_PER_CENT {
                calm_since = Instant::now();
            }
            if Instant::now() > by {
                return Err(Error::new(format!(
                    "no calm within {} s: {num_still} partitions stand still now",
                    LONGEST.as_secs()
                )));
            }
        }
        Ok(())
    }

    fn stood(&self) -> Stood {
        let mut pauses = self.longest.clone();
        pauses.sort_unstable();
        let at = |per_cent: usize| {
            let index = (pauses.len() * per_cent).div_ceil(100).max(1) - 1;
            pauses.get(index).copied().unwrap_or_default()
        };
        Stood {
            num: pauses.iter().filter(|pause| **pause > self.still).count(),
            p50: at(50),
            p99: at(99),
            longest: at(100),
        }
    }

    fn num_still(&self) -> usize {
        let is_still = |last: &&Option<Instant>| last.is_none_or(|at| at.elapsed() > self.still);
        self.last.iter().filter(is_still).count()
    }

    fn look(&mut self, stub: &Stub) {
        for arrival in stub.take() {
            let Ok(index) = usize::try_from(arrival.partition) else {
                continue;
            };
            let (Some(last), Some(longest)) =
                (self.last.get_mut(index), self.longest.get_mut(index))
            else {
                continue;
            };
            let before = last.replace(arrival.at).unwrap_or(arrival.at);
            *longest = (*longest).max(arrival.at.saturating_duration_since(before));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
