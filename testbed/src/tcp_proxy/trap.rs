//! A request that is waited for, and what happens when it comes by.

/// When a trap springs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spring {
    /// Before the request reaches the server.
    Before,
    /// After the server has answered it, and before the client hears of that.
    After,
}

/// Says of a piece of data whether it is what is waited for.
pub type IsIt = Box<dyn Fn(&[u8]) -> bool + Send>;
/// Something to do once.
pub type Action = Box<dyn FnOnce() + Send>;

/// Something that happens once, as soon as a certain request comes by. The request's connection is closed then.
pub struct Trap {
    /// Whether this piece of data to the server is (the beginning of) that request.
    pub is_it: IsIt,
    /// Before or after.
    pub spring: Spring,
    /// What happens; it may block.
    pub action: Action,
}
