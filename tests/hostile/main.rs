//! Hostile input: each gets its answer, and a well-behaved neighbour notices nothing.

mod autobahn;
#[path = "../common/mod.rs"]
mod common;
mod crowds;
mod deflate;
mod frames;
mod house;
mod limits;
mod messages;
mod neighbour;
mod raw;
mod requests;
mod sites;
mod slow;
mod tls;
mod utf8;
