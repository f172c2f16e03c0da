//! The gRPC wire types and their conversion to and from the domain. Wire types stop here: what comes in is checked and
//! turned into `tombolo_core` types with a named error, what goes out is made from them.

pub mod convert;

/// Generated from `proto/tombolo/agent/v1`.
pub mod agent {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tombolo.agent.v1");
    }
}

/// Generated from `proto/tombolo/courier/v1`.
pub mod courier {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tombolo.courier.v1");
    }
}

/// Generated from `proto/tombolo/exec/v1`.
pub mod exec {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tombolo.exec.v1");
    }
}

/// Generated from `proto/tombolo/transfer/v1`.
pub mod transfer {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("tombolo.transfer.v1");
    }
}

impl std::fmt::Debug for agent::v1::FindSecretsResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FindSecretsResponse")
            .field("variables", &self.variables.keys())
            .finish()
    }
}

impl std::fmt::Debug for courier::v1::Description {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { materials, secrets, .. } = self;
        formatter
            .debug_struct("Description")
            .field("materials", materials)
            .field("secrets", &secrets.keys())
            .finish_non_exhaustive()
    }
}
