//! A transactional producer with a ledger: what is committed must arrive, what is aborted (or never ended) must
//! not.

use std::time::Duration;

use crate::error::Result;
use crate::ledger::Ledger;
use crate::produce::{Generator, Outgoing, Producer};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Produces in transactions, one at a time.
pub struct TransactionalProducer {
    producer: Producer,
    committed: Ledger,
    aborted: Ledger,
}

impl TransactionalProducer {
    /// For the brokers at `bootstrap`. The broker aborts a transaction that isn't ended within `timeout`.
    pub fn new(bootstrap: &str, id: &str, timeout: Duration) -> Result<Self> {
        let timeout = timeout.as_millis().to_string();
        let properties = [
            ("transactional.id", id),
            ("transaction.timeout.ms", timeout.as_str()),
            ("message.timeout.ms", timeout.as_str()),
        ];
        let producer = Producer::with_properties(bootstrap, &properties)?;
        producer.init_transactions(TIMEOUT)?;
        Ok(Self {
            producer,
            committed: Ledger::default(),
            aborted: Ledger::default(),
        })
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<()> {
        self.producer.begin_transaction()
    }

    /// Sends one record in the transaction that has begun.
    pub fn send(&self, topic: &str, record: &Outgoing) -> Result<()> {
        self.producer.send(topic, record)
    }

    /// Sends so many records in the transaction that has begun, and waits until they stand in the log.
    pub fn produce(&self, topic: &str, generator: &mut Generator, num: usize) -> Result<()> {
        self.producer.produce(topic, generator, num)
    }

    /// Commits: the records are for everybody to read, and in the ledger.
    pub fn commit(&mut self) -> Result<()> {
        self.producer.flush()?;
        self.producer.commit_transaction(TIMEOUT)?;
        self.committed.merge(self.producer.take_ledger());
        Ok(())
    }

    /// Aborts: the records stand in the log, and nobody who reads committed ones may see them.
    pub fn abort(&mut self) -> Result<()> {
        self.producer.flush()?;
        self.producer.abort_transaction(TIMEOUT)?;
        self.aborted.merge(self.producer.take_ledger());
        Ok(())
    }

    /// Dies in the middle of the transaction: it hangs until the broker aborts it.
    pub fn abandon(mut self) -> (Ledger, Ledger) {
        self.aborted.merge(self.producer.take_ledger());
        (self.committed, self.aborted)
    }

    /// What was committed.
    pub fn committed(&self) -> &Ledger {
        &self.committed
    }

    /// What was aborted.
    pub fn aborted(&self) -> &Ledger {
        &self.aborted
    }
}
