//! One integration crate: every walk through the doors that users use.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod app;
mod audit;
mod bearers;
mod binding;
mod server;

mod cli;
mod config;
mod connection;
mod debian;
mod debug;
mod deliver;
mod delivery;
mod dialects;
mod directory;
mod docs;
mod enumeration;
mod hold;
mod http;
mod interop;
mod issue;
mod journal;
mod layers;
mod limits;
mod listeners;
mod logs;
mod mail;
mod page;
mod redeem;
mod reload;
mod repeat;
mod revoke;
mod rotate;
mod rotation;
mod secrets;
mod sockets;
mod systemd;
mod tenants;
mod tls;
mod vectors;
mod webhook;
