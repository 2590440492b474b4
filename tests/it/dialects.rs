//! The APIs of others: what their clients send and get, to the member.

mod rebilly;
