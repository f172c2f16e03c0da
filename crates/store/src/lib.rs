//! What the master keeps: the port and its implementations.
