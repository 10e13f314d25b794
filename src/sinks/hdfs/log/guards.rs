//! The guards by name. They are all on in a running outflow; the model switches them off one by one, and finds a
//! counterexample each time (see docs/adr/0003-hdfs-commit-log.md).

/// The protocol's guards, each of which the model switches off to see that it is needed.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guards {
    /// Opening renames the owner's folder.
    pub fence: bool,
    /// The folder is read after the fence, not before.
    pub read_after_fence: bool,
    /// A new partition's folder is prepared aside and renamed into place.
    pub prepare_aside: bool,
    /// An entry is written aside and renamed, not written in place.
    pub write_aside: bool,
    /// What may be half written is never used: another try takes another name.
    pub fresh_names: bool,
    /// A commit whose outcome is unknown is tried again, not taken for done.
    pub retry_unknown_commit: bool,
    /// A commit whose entry aside is missing is looked for, not taken for done.
    pub confirm_commit: bool,
    /// A temp file that is missing is looked for at its final path, not taken for published.
    pub confirm_published: bool,
    /// An entry is marked done after its files are published, not before.
    pub done_after_published: bool,
    /// Opening publishes what isn't done.
    pub redo_publishing: bool,
    /// Opening deletes temp files only after it published what entries name.
    pub clean_after_publishing: bool,
    /// A range is acked once its entry is done, not before its commit point.
    pub ack_after_commit: bool,
    /// Reading goes on at the log's end, whatever Kafka's committed offset says.
    pub resume_from_log: bool,
    /// A log of another cluster, topic or group is left to its owner, not fenced first.
    pub look_before_fence: bool,
    /// A log of another cluster, topic or group isn't continued.
    pub same_identity: bool,
    /// A log that ends before Kafka's committed offset isn't continued.
    pub committed_within_log: bool,
    /// A history file is in place before the entries it holds are deleted.
    pub roll_before_delete: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            fence: true,
            read_after_fence: true,
            prepare_aside: true,
            write_aside: true,
            fresh_names: true,
            retry_unknown_commit: true,
            confirm_commit: true,
            confirm_published: true,
            done_after_published: true,
            redo_publishing: true,
            clean_after_publishing: true,
            ack_after_commit: true,
            resume_from_log: true,
            look_before_fence: true,
            same_identity: true,
            committed_within_log: true,
            roll_before_delete: true,
        }
    }
}
