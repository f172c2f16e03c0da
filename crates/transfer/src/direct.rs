//! Chunks straight to and from a store, by requests that its owner has signed. Whoever makes them has no credentials: a signed
//! request is good for one object, one method and a few minutes.

mod client;
mod request;

pub use client::{Client, Deadlines, Failure, Written};
pub use request::{SignedRequest, UploadTerms};
