//! Load: more than the relay can take beside people who keep to the limits, and connections that come and go.

#[path = "../common/mod.rs"]
mod common;
#[path = "../hostile/raw.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod raw;

mod churn;
mod overload;
