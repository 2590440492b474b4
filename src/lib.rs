//! resetd issues password-reset tokens that anybody can verify offline and that work once.
//!
//! The map, top layer first; each module uses only those below it (`ARCHITECTURE.md` has the
//! table, a test holds the code to it):
//!
//! - [`cli`]: the commands, one file each, and what they print.
//! - [`serve`]: wires a configuration into a running server: keys, service, listener, shutdown.
//! - [`http`]: the route table, requests into values and values into answers.
//! - [`tls`]: the certificate that is shown to clients, exchanged while the server runs.
//! - [`service`]: the story of each operation: issue, check, redeem, revoke.
//! - [`delivery`]: sends what was promised, and tries again.
//! - [`key_admin`]: what is done with keys: look, plan, carry out; reload and rotate.
//! - [`keystore`]: the folder of private keys.
//! - [`revocation`]: what is spent and revoked, and the invariant of single use.
//! - [`outbox`]: what is to be sent, until it was sent.
//! - [`audit`]: the trail of who did what, chained line by line.
//! - [`mail`]: templates and letters, to a mail server or into a folder.
//! - [`directory`]: who a user is, looked up in a file, by a service or by an LDAP server.
//! - [`config`]: four layers of settings into one valid configuration.
//! - [`webhook`]: signed messages to the apps that want to know.
//! - [`fetch`]: requests to others. [`file_lock`]: one process alone. [`file_path`]: where
//!   a file was looked for.
//! - [`random`], [`clock`]: chance and time, brought to the rest as values.
//! - [`domain`]: the rules, pure.
//!
//! Verification itself is a library of its own, [`resetd_verify`], for edges to use as well.

pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod directory;
pub mod domain;
pub mod fetch;
pub mod file_lock;
pub mod file_path;
pub mod http;
pub mod journal;
pub mod key_admin;
pub mod keystore;
pub mod mail;
pub mod outbox;
pub mod random;
pub mod revocation;
pub mod serve;
pub mod service;
pub mod tls;
pub mod webhook;
