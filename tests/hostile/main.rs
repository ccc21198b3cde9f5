//! Hostile input: each gets its answer, and a well-behaved neighbour notices nothing.

#[path = "../common/mod.rs"]
mod common;
mod frames;
mod limits;
mod messages;
mod neighbour;
mod raw;
mod slow;
