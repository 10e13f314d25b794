//! What an error of hdfs-native means: whether the thing happened, and what is to be done. Pure.
//!
//! Only a definite answer of the NameNode, or a connection that was never made, proves that nothing happened.
//! Everything else is unknown: the request may have been carried out, or may be yet.

use std::io::ErrorKind;

use hdfs_native::HdfsError;

use crate::error::Error;

/// A call that didn't succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It did not happen: something that it needs is missing.
    NotFound(Error),
    /// It did not happen: the target is there.
    Exists(Error),
    /// It surely did not happen, for another reason.
    Refused(Error),
    /// Nobody knows whether it happened.
    Unknown(Error),
}

impl Failure {
    /// The error alone, for where it doesn't matter whether it happened.
    pub fn into_error(self) -> Error {
        match self {
            Failure::NotFound(why)
            | Failure::Exists(why)
            | Failure::Refused(why)
            | Failure::Unknown(why) => why,
        }
    }
}

/// Longest quote of a server's words.
const MAX_QUOTE: usize = 400;

/// What `error` means for an attempt to `verb` the file or folder `path`.
pub fn classify(verb: &str, path: &str, error: HdfsError) -> Failure {
    let unavailable = |what: &str| Error::unavailable(format!("can't {verb} {path}: {what}"));
    let misconfigured = |what: &str| Error::misconfigured(format!("can't {verb} {path}: {what}"));
    let quoted = quote(&error.to_string());
    match error {
        HdfsError::RPCError(class, message) => remote(verb, path, &class, &message),
        HdfsError::FatalRPCError(class, message) => match remote(verb, path, &class, &message) {
            // A fatal answer ends the connection, whatever was under way on it.
            Failure::Refused(why) if !is_credentials(&class) => Failure::Unknown(why),
            failure => failure,
        },
        HdfsError::AlreadyExists(message) => Failure::Exists(unavailable(&format!(
            "it is there already ({})",
            quote(&message)
        ))),
        HdfsError::FileNotFound(_) => Failure::NotFound(unavailable("there is no such file")),
        HdfsError::IOError(ref io) if never_connected(io.kind()) => Failure::Refused(unavailable(
            &format!("{quoted}; is HDFS up, and is this its address?"),
        )),
        HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism => {
            Failure::Refused(misconfigured(&format!(
                "{quoted}; look at the credentials (keytab, ticket, token) of this process"
            )))
        }
        HdfsError::InvalidPath(_)
        | HdfsError::InvalidArgument(_)
        | HdfsError::UrlParseError(_)
        | HdfsError::XmlParseError(_)
        | HdfsError::UnsupportedFeature(_)
        | HdfsError::UnsupportedErasureCodingPolicy(_)
        | HdfsError::IsADirectoryError(_) => Failure::Refused(misconfigured(&quoted)),
        _ => Failure::Unknown(unavailable(&quoted)),
    }
}

/// A RemoteException: the NameNode's own answer, by the class of the exception.
fn remote(verb: &str, path: &str, class: &str, message: &str) -> Failure {
    let said = format!("{}: {}", short(class), quote(message));
    let unavailable =
        |advice: &str| Error::unavailable(format!("can't {verb} {path}: {said}{advice}"));
    let misconfigured =
        |advice: &str| Error::misconfigured(format!("can't {verb} {path}: {said}{advice}"));
    match short(class) {
        "FileNotFoundException" => Failure::NotFound(unavailable("")),
        "FileAlreadyExistsException" | "AlreadyBeingCreatedException" => {
            Failure::Exists(unavailable(""))
        }
        "SafeModeException" => Failure::Refused(unavailable(
            "; it resumes when the NameNode leaves safe mode",
        )),
        "StandbyException"
        | "RetriableException"
        | "ObserverRetryOnActiveException"
        | "RetryStartFileException"
        | "NotReplicatedYetException"
        | "RecoveryInProgressException"
        | "LeaseExpiredException"
        | "NoSuchReplicaException" => Failure::Refused(unavailable("")),
        "DSQuotaExceededException"
        | "NSQuotaExceededException"
        | "QuotaByStorageTypeExceededException"
        | "QuotaExceededException" => Failure::Refused(misconfigured(
            "; raise the quota (hdfs dfsadmin -setSpaceQuota, -setQuota) or make room below it",
        )),
        _ if is_credentials(class) => Failure::Refused(misconfigured(
            "; grant this user read, write and execute on the base path, or set sink.user",
        )),
        "ParentNotDirectoryException"
        | "InvalidPathException"
        | "PathComponentTooLongException"
        | "MaxDirectoryItemsExceededException"
        | "UnresolvedLinkException"
        | "IllegalArgumentException" => Failure::Refused(misconfigured("")),
        "IOException" if message.contains("could only be written to") => Failure::Refused(
            unavailable("; the DataNodes are full or down: see hdfs dfsadmin -report"),
        ),
        _ => Failure::Unknown(unavailable("")),
    }
}

fn is_credentials(class: &str) -> bool {
    matches!(
        short(class),
        "AccessControlException"
            | "TraverseAccessControlException"
            | "SnapshotAccessControlException"
            | "AuthorizationException"
            | "SaslException"
            | "GSSException"
            | "SecretManager$InvalidToken"
    )
}

fn never_connected(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::NotConnected
    )
}

/// A Java class without its package.
fn short(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

/// One line of a server's words: without the stack trace that Java sends along.
fn quote(text: &str) -> String {
    let line = text.lines().next().unwrap_or("").trim();
    let mut end = line.len().min(MAX_QUOTE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn rpc(class: &str, message: &str) -> Failure {
        classify(
            "write to",
            "/a",
            HdfsError::RPCError(class.into(), message.into()),
        )
    }

    fn io(kind: ErrorKind) -> Failure {
        classify("rename", "/a", HdfsError::IOError(kind.into()))
    }

    #[test]
    fn only_a_definite_answer_proves_that_nothing_happened() {
        for kind in [
            ErrorKind::ConnectionReset,
            ErrorKind::ConnectionAborted,
            ErrorKind::TimedOut,
            ErrorKind::UnexpectedEof,
            ErrorKind::BrokenPipe,
        ] {
            assert!(matches!(io(kind), Failure::Unknown(_)), "{kind}");
        }
        assert!(matches!(
            io(ErrorKind::ConnectionRefused),
            Failure::Refused(_)
        ));
        assert!(matches!(
            rpc("java.io.IOException", "disk on fire"),
            Failure::Unknown(_)
        ));
        assert!(matches!(
            rpc("java.lang.NullPointerException", ""),
            Failure::Unknown(_)
        ));
        let fatal =
            HdfsError::FatalRPCError("org.apache.hadoop.ipc.RetriableException".into(), "".into());
        assert!(matches!(
            classify("rename", "/a", fatal),
            Failure::Unknown(_)
        ));
    }

    #[test]
    fn what_is_missing_and_what_is_there_is_said() {
        assert!(matches!(
            rpc("java.io.FileNotFoundException", "no"),
            Failure::NotFound(_)
        ));
        assert!(matches!(
            classify("rename", "/a", HdfsError::AlreadyExists("b".into())),
            Failure::Exists(_)
        ));
    }

    #[test]
    fn a_person_is_asked_only_where_a_person_can_help() {
        let table = [
            (
                "org.apache.hadoop.security.AccessControlException",
                "Permission denied: user=x",
                Kind::Misconfigured,
            ),
            (
                "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException",
                "The DiskSpace quota of /a is exceeded",
                Kind::Misconfigured,
            ),
            (
                "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
                "Cannot create file",
                Kind::Unavailable,
            ),
            (
                "org.apache.hadoop.ipc.StandbyException",
                "not active",
                Kind::Unavailable,
            ),
            (
                "java.io.IOException",
                "File /a could only be written to 0 of the 1 minReplication nodes.",
                Kind::Unavailable,
            ),
        ];
        for (class, message, kind) in table {
            match rpc(class, message) {
                Failure::Refused(why) => {
                    assert_eq!(why.kind, kind, "{class}");
                    assert!(
                        why.what.contains("/a") && why.what.contains(message),
                        "{why}"
                    );
                }
                other => panic!("{class}: {other:?}"),
            }
        }
    }

    #[test]
    fn stack_traces_stay_out_of_messages() {
        let Failure::Refused(why) = rpc(
            "org.apache.hadoop.ipc.StandbyException",
            "not active\n\tat org.apache.hadoop.Foo(Foo.java:1)",
        ) else {
            panic!("a standby's answer is definite")
        };
        assert!(!why.what.contains("Foo.java") && !why.what.contains('\n'));
    }
}
