//! The pure layer: rules and values. It reads no clock, file or socket; the caller brings the time
//! and the randomness.

pub mod bearer;
pub mod binding;
pub mod caller;
pub mod dialect;
pub mod directory;
pub mod email;
pub mod identifier;
pub mod issue;
pub mod keyring;
pub mod language;
pub mod link;
pub mod mail;
pub mod order;
pub mod policy;
pub mod rotation;
pub mod secret;
pub mod target;
pub mod time;
pub mod webhook;
