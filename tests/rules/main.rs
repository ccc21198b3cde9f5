//! Rules that no NIP owns: a module a family, tables of what comes in and what must come of it.

mod blocklist;
