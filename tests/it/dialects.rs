//! The APIs of others: recorded requests get the recorded answers, whole, and the vendors' own clients take them.

mod fabric;
mod loginradius;
mod rebilly;
mod servicestack;
