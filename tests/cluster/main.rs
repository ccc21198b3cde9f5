//! Several nodes as one relay: the real program and real nats-servers, on this machine alone. First what must converge,
//! then what must be refused and heal, then anything in any order by a seed.

#[path = "../common/mod.rs"]
mod common;

mod balancer;
mod bootstrap;
mod chaos;
mod converge;
mod failures;
mod figures;
mod guarded;
mod heal;
mod house;
mod partition;
mod spoken;
mod upgrade;
