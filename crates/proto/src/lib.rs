//! The gRPC wire types and their conversion to and from the domain.
