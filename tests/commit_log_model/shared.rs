//! A namespace that many states share: hashed once, checked once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use outflow::sinks::hdfs::log::Entry;

use crate::namespace::Namespace;

#[derive(Debug, Clone)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    namespace: Namespace,
    hash: OnceLock<u64>,
    log: OnceLock<Result<Option<Log>, String>>,
}

/// The log's folder and its entries.
type Log = (String, Vec<Entry>);

impl Shared {
    pub fn new(namespace: Namespace) -> Self {
        let (hash, log) = (OnceLock::new(), OnceLock::new());
        Shared(Arc::new(Inner {
            namespace,
            hash,
            log,
        }))
    }

    fn hash(&self) -> u64 {
        *self.0.hash.get_or_init(|| {
            // Keys are fixed: the same in every run.
            let mut hasher = DefaultHasher::new();
            self.0.namespace.hash(&mut hasher);
            hasher.finish()
        })
    }

    /// The log that stands in it, or what is wrong with it.
    pub fn log(&self) -> Result<Option<&Log>, String> {
        let log = self
            .0
            .log
            .get_or_init(|| crate::check::log(&self.0.namespace));
        log.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// Changes the namespace, on a copy.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Namespace) -> T) -> T {
        let mut namespace = self.0.namespace.clone();
        let result = change(&mut namespace);
        *self = Shared::new(namespace);
        result
    }
}

impl Deref for Shared {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.0.namespace
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.hash() == other.hash()
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash().hash(state);
    }
}
