//! The client's errors in our vocabulary. Its own `Display` isn't used for configuration errors: it prints
//! values, which may be secrets.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::error::{Error, Kind};

/// What the caller must do about a code.
pub(super) fn kind(code: Code) -> Kind {
    match code {
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::StaleMemberEpoch
        | Code::FencedMemberEpoch
        | Code::FencedInstanceId
        | Code::AssignmentLost => Kind::Fenced,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidGroupId
        | Code::InvalidSessionTimeout
        | Code::InconsistentGroupProtocol
        | Code::GroupMaxSizeReached
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::SecurityDisabled
        | Code::OffsetMetadataTooLarge
        | Code::PolicyViolation => Kind::Misconfigured,
        _ => Kind::Unavailable,
    }
}

/// What a person can do about a code, where that is known.
fn advice(code: Code) -> &'static str {
    match code {
        Code::TopicAuthorizationFailed => {
            "; allow this principal READ and DESCRIBE on the topic (WRITE on a dead letter topic)"
        }
        Code::GroupAuthorizationFailed => "; allow this principal READ on the group",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "; check sasl.mechanism, sasl.username and the password in kafka.properties"
        }
        Code::SSL => "; check security.protocol and the ssl.* properties",
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            "; create the topic, or correct its name"
        }
        Code::InconsistentGroupProtocol => {
            "; another member of this group uses another assignment strategy: stop it, or choose another \
             kafka.group_id"
        }
        Code::FencedInstanceId => "; another process uses the same kafka.group_instance_id",
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve => {
            "; check kafka.bootstrap_servers, security.protocol and the network"
        }
        _ => "",
    }
}

/// An error of this code: what was done, what the client says, what to do.
pub(super) fn from_code(code: Code, what: impl std::fmt::Display) -> Error {
    Error::new(kind(code), format!("{what}: {code}{}", advice(code)))
}

/// The same with the client's own reason, which is more precise than the code.
pub(super) fn from_reason(code: Code, reason: &str) -> Error {
    let reason = cut(reason, 512);
    Error::new(
        kind(code),
        format!("Kafka: {reason} ({code}){}", advice(code)),
    )
}

/// An error of a call of rust-rdkafka's that isn't about configuration.
pub(super) fn from_kafka(error: &KafkaError, what: impl std::fmt::Display) -> Error {
    match (error.rdkafka_error_code(), error) {
        (Some(code), _) => from_code(code, what),
        (None, KafkaError::ClientConfig(_, _, key, _)) => {
            Error::misconfigured(format!("{what}: the property {key} isn't valid"))
        }
        (None, error) => Error::unavailable(format!("{what}: {error}")),
    }
}

/// At most `max` bytes of `text`, on a character's border.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::types::RDKafkaConfRes;

    #[test]
    fn a_configuration_error_never_prints_a_value() {
        let error = KafkaError::ClientConfig(
            RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "Invalid value \"hunter2\"".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        let error = from_kafka(&error, "creating the client");
        assert_eq!(error.kind, Kind::Misconfigured);
        assert!(error.what.contains("sasl.password"));
        assert!(!error.what.contains("hunter2"));
    }

    #[test]
    fn what_is_cut_ends_on_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 99), "aé");
    }
}
